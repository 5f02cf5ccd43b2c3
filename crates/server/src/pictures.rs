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

/// A picture as it came, before it takes any room as pixels.
enum Sent {
    DataUrl(String),
    Fetched(Vec<u8>),
}

impl Sent {
    /// Its pixels, upright.
    ///
    /// # Errors
    /// [`Refusal`] where it is no picture, or too large.
    fn decode(self, state: &State) -> Result<RgbImage, Refusal> {
        let bytes = match self {
            Self::Fetched(bytes) => bytes,
            Self::DataUrl(url) => from_base64(data(&url).ok_or_else(|| {
                Refusal::invalid("a picture's data URL must be in Base64: `data:image/jpeg;base64,...`")
            })?)?,
        };
        let options = DecodeOptions {
            max_pixels: state.options.limits.pixels,
            ..DecodeOptions::upright()
        };
        decode(&bytes, NAME, options).map_err(|error| Refusal::invalid(error.to_string()))
    }
}

impl State {
    /// Does `work` with the picture at `url`, decoded upright. Both are one turn of a worker, so that no more pictures are held as
    /// pixels than there are workers, however many wait.
    ///
    /// # Errors
    /// Those of the work; [`Refusal`] where there is no picture, it is too large, or it may not be fetched.
    pub(crate) async fn with_picture<T: Send + 'static>(
        self: &Arc<Self>,
        url: String,
        work: impl FnOnce(&Self, &RgbImage) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let sent = self.sent(url).await?;
        self.with_sent(sent, work).await
    }

    /// The picture at `url` through the image encoder, where a text is to be written about it, which the engine waits for.
    ///
    /// # Errors
    /// As for [`State::with_picture`].
    pub(crate) async fn encoded_for_text(self: &Arc<Self>, url: String) -> Result<EncodedPicture, Refusal> {
        let sent = self.sent(url).await?;
        // Not before: who fetches slowly holds up nobody's text.
        let _expected = self.engine.expect();
        let encoded = self.with_sent(sent, |state, picture| {
            Ok(state.model.encode_picture(picture, &state.pictures)?)
        });
        encoded.await
    }

    async fn with_sent<T: Send + 'static>(
        self: &Arc<Self>,
        sent: Sent,
        work: impl FnOnce(&Self, &RgbImage) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.work(move |state| {
            let picture = sent.decode(state)?;
            work(state, &picture)
        })
        .await
    }

    /// What is at `url`; fetched where it is an address elsewhere, and that is allowed.
    async fn sent(self: &Arc<Self>, url: String) -> Result<Sent, Refusal> {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "data" => Ok(Sent::DataUrl(url)),
            "http" | "https" if !self.options.remote_images => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "remote_images",
                "this server fetches no pictures: send them as data URLs, or start it with --allow-remote-images",
            )),
            "http" | "https" => {
                let fetched = self.fetch(move |state| remote::fetch(&url, state.options.limits.body));
                Ok(Sent::Fetched(fetched.await?))
            }
            _ => Err(Refusal::invalid(
                "a picture is given as a data URL, `data:image/jpeg;base64,...`, or as an http(s) address",
            )),
        }
    }
}

fn from_base64(text: &str) -> Result<Vec<u8>, Refusal> {
    let text = text.trim();
    let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
    decoded.map_err(|error| Refusal::invalid(format!("a picture is no valid Base64: {error}")))
}
