//! Clients that mean harm: pictures that claim to be huge, and answers that nobody reads.

use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;

/// A PNG, a GIF and a BMP of a hundred bytes whose headers promise 4 to 10 billion pixels.
pub(super) const BOMBS: [&str; 3] = [
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgABhqAAAYagCAIAAAAnMJyfAAAADElEQVR4nGNgoAwAAABAAAG3NHzvAAAAAElFTkSuQmCC",
    "data:image/gif;base64,R0lGODlh/////4AAAAAAAP///ywAAAAA/////wACAkQBADs=",
    "data:image/bmp;base64,Qk06AAAAAAAAADYAAAAoAAAAoIYBAKCGAQABABgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
];

/// What is asked for again and again: an answer of some 40 KB.
const DOCUMENT: &str = "GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// Asks for more and more without reading any of it, until the server ends the connection; whether it did.
///
/// # Errors
/// What else went wrong.
pub(super) fn read_nothing(stream: &mut TcpStream) -> io::Result<bool> {
    let asked = DOCUMENT.repeat(1000);
    loop {
        // Once all buffers are full nothing goes on in either direction.
        match stream.write_all(asked.as_bytes()) {
            Ok(()) => {}
            Err(error) => {
                return match error.kind() {
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                        Ok(true)
                    }
                    // The server waits for ever.
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(false),
                    _ => Err(error),
                };
            }
        }
    }
}
