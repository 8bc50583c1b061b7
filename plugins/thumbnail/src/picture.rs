//! From an image to a smaller one.
//!
//! What an image claims about itself is checked before memory is spent on it. The
//! picture is turned upright as its EXIF data says; of what else the file carries,
//! only a fitting colour profile is passed on, so places and dates stay behind. Of an
//! animation the first picture is taken. Knows nothing of tasks.

use std::io::Cursor;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3, U8x4};
use fast_image_resize::{MulDiv, PixelTrait, PixelType, ResizeOptions, Resizer};
use image::codecs::{jpeg::JpegEncoder, png, webp::WebPEncoder};
use image::metadata::Orientation;
use image::{
    DynamicImage, ImageBuffer, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageReader,
    Limits,
};
use thiserror::Error;

use crate::request::{Fit, Format, Request};

/// The longest side of an image that is decoded, in pixels.
pub const MAX_SOURCE_SIDE_PX: u32 = 16_384;

/// The most bytes that a decoded image may take: about 22 megapixels of RGB.
pub const MAX_DECODED_BYTES: u64 = 64 << 20;

/// The longest colour profile that is passed on; longer ones outweigh a thumbnail.
const MAX_PROFILE_BYTES: usize = 64 << 10;

/// Why an image got no thumbnail.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PictureError {
    /// The bytes are no image of a known format.
    #[error("{found}; send a PNG, JPEG or WebP image")]
    UnknownFormat {
        /// What the bytes look like.
        found: String,
    },
    /// The image is larger than what is decoded.
    #[error(
        "the {format} image is {width_px}×{height_px} pixels, {bytes} bytes decoded; at most \
         {MAX_SOURCE_SIDE_PX} pixels a side and {MAX_DECODED_BYTES} bytes are decoded"
    )]
    TooLarge {
        /// Its format.
        format: &'static str,
        /// Its width.
        width_px: u32,
        /// Its height.
        height_px: u32,
        /// What it would take in memory.
        bytes: u64,
    },
    /// The image is damaged or uses something that is not supported.
    #[error("the {format} image cannot be decoded: {reason}")]
    Malformed {
        /// Its format.
        format: &'static str,
        /// What the decoder met.
        reason: String,
    },
    /// The thumbnail could not be made of the decoded image.
    #[error("the thumbnail cannot be written: {reason}")]
    Unwritable {
        /// What the encoder met.
        reason: String,
    },
}

/// A thumbnail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail {
    /// The format of `bytes`.
    pub format: Format,
    /// Its width.
    pub width_px: u32,
    /// Its height.
    pub height_px: u32,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Make the thumbnail of `file` that `request` asks for.
///
/// # Errors
///
/// If the file is no PNG, JPEG or WebP image, is damaged or is too large.
pub fn shrink(file: &[u8], request: &Request) -> Result<Thumbnail, PictureError> {
    let source = Source::decode(file)?;
    let format = request.format.unwrap_or(source.format);
    let mut picture = resize(source.picture, source.orientation, request)?;
    picture.apply_orientation(source.orientation);
    if format == Format::Jpeg && picture.color().has_alpha() {
        picture = flatten(picture, request.background);
    }
    let profile = source.profile.filter(|profile| describes(profile, &picture));
    let bytes = encode(&picture, format, request.quality, profile)?;
    Ok(Thumbnail { format, width_px: picture.width(), height_px: picture.height(), bytes })
}

/// A decoded image: 8 bits per channel; grey, RGB or RGBA.
struct Source {
    format: Format,
    picture: DynamicImage,
    orientation: Orientation,
    profile: Option<Vec<u8>>,
}

impl Source {
    fn decode(file: &[u8]) -> Result<Self, PictureError> {
        let (format, known) = recognize(file)?;
        let name = name(format);
        let malformed =
            |error: ImageError| PictureError::Malformed { format: name, reason: reason(&error) };

        let mut limits = Limits::default();
        limits.max_alloc = Some(MAX_DECODED_BYTES);
        let mut reader = ImageReader::with_format(Cursor::new(file), known);
        reader.limits(limits);
        // The sides are checked below, where the message can name them.
        let mut decoder = reader.into_decoder().map_err(malformed)?;
        let (width_px, height_px) = decoder.dimensions();
        let bytes = decoder.total_bytes();
        if width_px.max(height_px) > MAX_SOURCE_SIDE_PX || bytes > MAX_DECODED_BYTES {
            return Err(PictureError::TooLarge { format: name, width_px, height_px, bytes });
        }
        // Broken extras do not spoil a good picture.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let profile = decoder.icc_profile().ok().flatten();
        let decoded = DynamicImage::from_decoder(decoder).map_err(malformed)?;
        let color = decoded.color();
        let picture = match (color.has_alpha(), color.has_color()) {
            (true, _) => DynamicImage::ImageRgba8(decoded.into_rgba8()),
            (false, true) => DynamicImage::ImageRgb8(decoded.into_rgb8()),
            (false, false) => DynamicImage::ImageLuma8(decoded.into_luma8()),
        };
        Ok(Self { format, picture, orientation, profile })
    }
}

fn recognize(file: &[u8]) -> Result<(Format, ImageFormat), PictureError> {
    let unknown = |found: String| PictureError::UnknownFormat { found };
    match image::guess_format(file) {
        Ok(known @ ImageFormat::Png) => Ok((Format::Png, known)),
        Ok(known @ ImageFormat::Jpeg) => Ok((Format::Jpeg, known)),
        Ok(known @ ImageFormat::WebP) => Ok((Format::WebP, known)),
        Ok(other) => Err(unknown(format!("the input is a {other:?} image"))),
        Err(_) if file.is_empty() => Err(unknown("the input is empty".into())),
        Err(_) => Err(unknown(format!("the {} bytes of input are no known image", file.len()))),
    }
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Png => "PNG",
        Format::Jpeg => "JPEG",
        Format::WebP => "WebP",
    }
}

fn reason(error: &ImageError) -> String {
    error.to_string().chars().take(300).collect()
}

fn unwritable(error: impl std::fmt::Display) -> PictureError {
    PictureError::Unwritable { reason: error.to_string() }
}

/// Resize `picture`, which is still to be turned as `orientation` says.
fn resize(
    picture: DynamicImage,
    orientation: Orientation,
    request: &Request,
) -> Result<DynamicImage, PictureError> {
    let lies_on_its_side = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    let frame = if lies_on_its_side {
        (request.height_px, request.width_px)
    } else {
        (request.width_px, request.height_px)
    };
    let size = (picture.width(), picture.height());
    let (width, height) = target(size, frame, request.fit);
    let options = match request.fit {
        Fit::Contain => ResizeOptions::new().use_alpha(false),
        Fit::Cover => ResizeOptions::new().use_alpha(false).fit_into_destination(None),
    };
    let goal = (width, height);
    match picture {
        DynamicImage::ImageLuma8(pixels) => {
            let raw = resample::<U8>(pixels.into_raw(), size, goal, &options)?;
            from_raw(ImageBuffer::from_raw(width, height, raw).map(DynamicImage::ImageLuma8))
        }
        DynamicImage::ImageRgba8(pixels) => {
            let raw = resample::<U8x4>(pixels.into_raw(), size, goal, &options)?;
            from_raw(ImageBuffer::from_raw(width, height, raw).map(DynamicImage::ImageRgba8))
        }
        other => {
            let raw = resample::<U8x3>(other.into_rgb8().into_raw(), size, goal, &options)?;
            from_raw(ImageBuffer::from_raw(width, height, raw).map(DynamicImage::ImageRgb8))
        }
    }
}

fn from_raw(picture: Option<DynamicImage>) -> Result<DynamicImage, PictureError> {
    picture.ok_or_else(|| unwritable("the resized picture has the wrong size"))
}

/// The size of the thumbnail of a picture of `size` in `frame`.
fn target(size: (u32, u32), frame: (u32, u32), fit: Fit) -> (u32, u32) {
    let ratio = (
        f64::from(frame.0) / f64::from(size.0.max(1)),
        f64::from(frame.1) / f64::from(size.1.max(1)),
    );
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "both are at most 4096, or at most the picture's own side"
    )]
    let scaled = |side: u32, scale: f64| ((f64::from(side) * scale).round() as u32).max(1);
    match fit {
        Fit::Contain => {
            let scale = ratio.0.min(ratio.1).min(1.0);
            (scaled(size.0, scale), scaled(size.1, scale))
        }
        Fit::Cover => {
            let scale = 1.0 / ratio.0.max(ratio.1).max(1.0);
            (scaled(frame.0, scale), scaled(frame.1, scale))
        }
    }
}

/// Resample raw pixels. Transparent pixels lend no colour to their neighbours: colours
/// are weighted with alpha, in place, since a second copy could exceed the memory limit.
fn resample<P: PixelTrait>(
    mut raw: Vec<u8>,
    size: (u32, u32),
    goal: (u32, u32),
    options: &ResizeOptions,
) -> Result<Vec<u8>, PictureError> {
    let alpha = MulDiv::new();
    let is_transparent = P::pixel_type() == PixelType::U8x4;
    if is_transparent {
        let mut source =
            TypedImage::<P>::from_buffer(size.0, size.1, &mut raw).map_err(unwritable)?;
        alpha.multiply_alpha_inplace_typed(&mut source).map_err(unwritable)?;
    }
    let source = TypedImageRef::<P>::from_buffer(size.0, size.1, &raw).map_err(unwritable)?;
    let mut bytes = vec![0; goal.0 as usize * goal.1 as usize * P::size()];
    let mut resized =
        TypedImage::<P>::from_buffer(goal.0, goal.1, &mut bytes).map_err(unwritable)?;
    Resizer::new().resize_typed(&source, &mut resized, options).map_err(unwritable)?;
    if is_transparent {
        alpha.divide_alpha_inplace_typed(&mut resized).map_err(unwritable)?;
    }
    Ok(bytes)
}

fn flatten(picture: DynamicImage, background: [u8; 3]) -> DynamicImage {
    let pixels = picture.into_rgba8();
    let over = |above: u8, below: u8, alpha: u8| {
        let (above, below, alpha) = (u32::from(above), u32::from(below), u32::from(alpha));
        let mixed = (above * alpha + below * (255 - alpha) + 127) / 255;
        u8::try_from(mixed).unwrap_or(u8::MAX)
    };
    let flat = ImageBuffer::from_fn(pixels.width(), pixels.height(), |x, y| {
        let [red, green, blue, alpha] = pixels.get_pixel(x, y).0;
        image::Rgb([
            over(red, background[0], alpha),
            over(green, background[1], alpha),
            over(blue, background[2], alpha),
        ])
    });
    DynamicImage::ImageRgb8(flat)
}

/// Whether a colour profile is about the channels that the picture has now.
fn describes(profile: &[u8], picture: &DynamicImage) -> bool {
    let space: &[u8] = if picture.color().has_color() { b"RGB " } else { b"GRAY" };
    profile.len() <= MAX_PROFILE_BYTES && profile.get(16..20) == Some(space)
}

fn encode(
    picture: &DynamicImage,
    format: Format,
    quality: u8,
    profile: Option<Vec<u8>>,
) -> Result<Vec<u8>, PictureError> {
    let mut bytes = Vec::new();
    match format {
        Format::Png => {
            let compression = png::CompressionType::Default;
            let filter = png::FilterType::Adaptive;
            let encoder = png::PngEncoder::new_with_quality(&mut bytes, compression, filter);
            write(picture, encoder, profile)?;
        }
        Format::Jpeg => {
            write(picture, JpegEncoder::new_with_quality(&mut bytes, quality), profile)?;
        }
        Format::WebP => write(picture, WebPEncoder::new_lossless(&mut bytes), profile)?,
    }
    Ok(bytes)
}

fn write(
    picture: &DynamicImage,
    mut encoder: impl ImageEncoder,
    profile: Option<Vec<u8>>,
) -> Result<(), PictureError> {
    if let Some(profile) = profile {
        encoder.set_icc_profile(profile).map_err(unwritable)?;
    }
    picture.write_with_encoder(encoder).map_err(unwritable)
}
