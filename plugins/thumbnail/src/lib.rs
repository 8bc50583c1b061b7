//! PNG, JPEG and WebP images to thumbnails.
//!
//! A plugin for the task type `thumbnail`. The pictures are made by ordinary Rust; this
//! file only ties that to tasks: metadata to a request, errors to permanent failures,
//! since no later attempt would find the same image better.

mod picture;
mod request;

use bulkhead_guest::prelude::*;

pub use picture::{MAX_DECODED_BYTES, MAX_SOURCE_SIDE_PX, PictureError, Thumbnail, shrink};
pub use request::{Fit, Format, MAX_SIDE_PX, Request};

/// Shrinks a PNG, JPEG or WebP image to fit a box, upright and without its metadata.
#[handler(
    task_type = "thumbnail",
    fuel = 20_000_000_000,
    memory = "128 MiB",
    timeout = "20s",
    max_attempts = 2
)]
fn thumbnail(image: Payload, task: &Task) -> Result<Payload, Failure> {
    let request = Request::read(task.options())?;
    let made = shrink(&image.data, &request).map_err(reject)?;
    Ok(Payload::new(made.format.content_type(), made.bytes))
}

fn reject(error: impl std::error::Error) -> Failure {
    Failure::permanent(error.to_string())
}

plugin!(thumbnail);

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_guest::testing::{Attempt, run};

    #[test]
    fn an_image_becomes_a_smaller_one() {
        let sample = Payload::new("image/png", *include_bytes!("../samples/badge.png"));
        let attempt = Attempt::new(sample).meta("width", "64").meta("format", "jpeg");
        let output = run::<thumbnail>(attempt).output.unwrap();
        assert_eq!(output.content_type, "image/jpeg");
        let made = image::load_from_memory(&output.data).unwrap();
        assert_eq!((made.width(), made.height()), (64, 64));
    }

    #[test]
    fn bad_input_and_bad_parameters_are_permanent() {
        let failure = run::<thumbnail>(Payload::text("no image")).output.unwrap_err();
        assert!(!failure.is_retryable());
        assert!(failure.message().contains("PNG, JPEG or WebP"), "{failure}");
        let attempt = Attempt::new(Payload::default()).meta("width", "wide");
        let failure = run::<thumbnail>(attempt).output.unwrap_err();
        assert!(!failure.is_retryable() && failure.message().contains("width"), "{failure}");
    }
}
