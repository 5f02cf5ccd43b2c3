//! Pictures that clients send: as data URLs, as addresses where that is allowed.

use std::sync::Arc;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use blip2::{DecodeOptions, EncodedPicture, RgbImage};
use blip2_data::pixels::decode;

use crate::error::Refusal;
use crate::remote;
use crate::state::State;

/// How errors call a picture, whose name is nobody's business.
const NAME: &str = "the picture";

/// `data:` and `;base64,` around the kind of a file; what follows is taken for a picture of any kind.
fn data(url: &str) -> Option<&str> {
    let rest = url
        .get(..5)
        .filter(|scheme| scheme.eq_ignore_ascii_case("data:"))
        .and(url.get(5..))?;
    let (kind, data) = rest.split_once(',')?;
    kind.ends_with(";base64").then_some(data)
}

/// Whether `text` stands for a picture.
pub(crate) fn is_data_url(text: &str) -> bool {
    text.get(..11)
        .is_some_and(|start| start.eq_ignore_ascii_case("data:image/"))
}

impl State {
    /// The picture at `url`, decoded upright.
    ///
    /// # Errors
    /// [`Refusal`] where there is none, it is too large, or it may not be fetched.
    pub(crate) async fn picture(self: &Arc<Self>, url: String) -> Result<RgbImage, Refusal> {
        let remote = match url.split_once(':') {
            Some((scheme, _))
                if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") =>
            {
                true
            }
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("data") => false,
            _ => {
                return Err(Refusal::invalid(
                    "a picture is given as a data URL, `data:image/jpeg;base64,...`, or as an http(s) address",
                ));
            }
        };
        if remote && !self.options.remote_images {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "remote_images",
                "this server fetches no pictures: send them as data URLs, or start it with --allow-remote-images",
            ));
        }
        self.work(move |state| {
            let bytes = match remote {
                true => remote::fetch(&url, state.options.limits.body)?,
                false => from_base64(data(&url).ok_or_else(|| {
                    Refusal::invalid("a picture's data URL must be in Base64: `data:image/jpeg;base64,...`")
                })?)?,
            };
            drop(url);
            let options = DecodeOptions {
                max_pixels: state.options.limits.pixels,
                ..DecodeOptions::upright()
            };
            decode(&bytes, NAME, options).map_err(|error| Refusal::invalid(error.to_string()))
        })
        .await
    }

    /// The same through the image encoder.
    ///
    /// # Errors
    /// As for [`State::picture`].
    pub(crate) async fn encoded(self: &Arc<Self>, url: String) -> Result<EncodedPicture, Refusal> {
        let picture = self.picture(url).await?;
        self.encode(picture).await
    }

    /// The same where a text is to be written about it, which the engine waits for.
    ///
    /// # Errors
    /// As for [`State::picture`].
    pub(crate) async fn encoded_for_text(self: &Arc<Self>, url: String) -> Result<EncodedPicture, Refusal> {
        let picture = self.picture(url).await?;
        let _expected = self.engine.expect();
        self.encode(picture).await
    }

    async fn encode(self: &Arc<Self>, picture: RgbImage) -> Result<EncodedPicture, Refusal> {
        self.work(move |state| Ok(state.model.encode_picture(&picture, &state.pictures)?))
            .await
    }
}

fn from_base64(text: &str) -> Result<Vec<u8>, Refusal> {
    let text = text.trim();
    let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
    decoded.map_err(|error| Refusal::invalid(format!("a picture is no valid Base64: {error}")))
}
