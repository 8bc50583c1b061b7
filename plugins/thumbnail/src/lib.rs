//! PNG, JPEG and WebP images to thumbnails.

mod picture;
mod request;

pub use picture::{MAX_DECODED_BYTES, MAX_SOURCE_SIDE_PX, PictureError, Thumbnail, shrink};
pub use request::{Fit, Format, MAX_SIDE_PX, Request, RequestError};
