//! What thumbnails look like, and which images get none.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail where it stands")]

use std::io::Cursor;
use std::sync::LazyLock;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use proptest::prelude::*;
use thumbnail::{Fit, Format, PictureError, Request, Thumbnail, shrink};

const SAMPLES: [(&[u8], Format); 3] = [
    (include_bytes!("../samples/badge.png"), Format::Png),
    (include_bytes!("../samples/harbour.jpg"), Format::Jpeg),
    (include_bytes!("../samples/harbour-upright.webp"), Format::WebP),
];

fn boxed(width_px: u32, height_px: u32) -> Request {
    Request { width_px, height_px, ..Request::default() }
}

fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.into().write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

fn open(thumbnail: &Thumbnail) -> DynamicImage {
    let picture = image::load_from_memory(&thumbnail.bytes).unwrap();
    assert_eq!((picture.width(), picture.height()), (thumbnail.width_px, thumbnail.height_px));
    picture
}

/// Left half red, right half blue.
fn halves(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| {
        if x < width / 2 { Rgb([250, 0, 0]) } else { Rgb([0, 0, 250]) }
    })
}

/// A JPEG with an EXIF orientation, 1 to 8.
fn turned_jpeg(picture: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let mut file = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut file, 95);
    encoder.set_exif_metadata(exif).unwrap();
    encoder
        .write_image(picture, picture.width(), picture.height(), image::ExtendedColorType::Rgb8)
        .unwrap();
    file
}

#[test]
fn every_format_becomes_every_format() {
    for (sample, own) in SAMPLES {
        for format in [None, Some(Format::Png), Some(Format::Jpeg), Some(Format::WebP)] {
            let made = shrink(sample, &Request { format, ..boxed(64, 64) }).unwrap();
            assert_eq!(made.format, format.unwrap_or(own));
            assert_eq!(made.width_px.max(made.height_px), 64);
            let content_type = image::guess_format(&made.bytes).unwrap().to_mime_type();
            assert_eq!(content_type, made.format.content_type());
            open(&made);
        }
    }
}

#[test]
fn the_size_follows_the_box() {
    for (source, request, expected) in [
        ((400, 200), boxed(100, 100), (100, 50)),
        ((200, 400), boxed(100, 100), (50, 100)),
        ((40, 20), boxed(100, 100), (40, 20)),
        ((1000, 1), boxed(10, 10), (10, 1)),
        ((400, 200), Request { fit: Fit::Cover, ..boxed(100, 100) }, (100, 100)),
        ((40, 20), Request { fit: Fit::Cover, ..boxed(100, 100) }, (20, 20)),
        ((400, 20), Request { fit: Fit::Cover, ..boxed(100, 50) }, (40, 20)),
    ] {
        let made = shrink(&png(halves(source.0, source.1)), &request).unwrap();
        assert_eq!((made.width_px, made.height_px), expected, "{source:?} {request:?}");
        open(&made);
    }
}

#[test]
fn cover_keeps_the_middle() {
    let thirds = RgbImage::from_fn(300, 100, |x, _| Rgb([if x / 100 == 1 { 200 } else { 0 }; 3]));
    let made = shrink(&png(thirds), &Request { fit: Fit::Cover, ..boxed(10, 10) }).unwrap();
    assert!(open(&made).to_luma8().pixels().all(|pixel| pixel.0[0] > 150));
}

#[test]
fn pictures_are_turned_upright() {
    for (orientation, size, red_at) in [
        (1, (100, 50), (10, 25)),
        (2, (100, 50), (90, 25)),
        (3, (100, 50), (90, 25)),
        (6, (50, 100), (25, 10)),
        (8, (50, 100), (25, 90)),
    ] {
        let made = shrink(&turned_jpeg(&halves(200, 100), orientation), &boxed(100, 100)).unwrap();
        assert_eq!((made.width_px, made.height_px), size, "orientation {orientation}");
        let [red, _, blue] = open(&made).to_rgb8().get_pixel(red_at.0, red_at.1).0;
        assert!(red > 200 && blue < 60, "orientation {orientation}: {red} {blue}");
    }
}

#[test]
fn metadata_stays_behind() {
    let file = turned_jpeg(&halves(200, 100), 6);
    assert!(file.windows(4).any(|window| window == b"Exif"));
    let made = shrink(&file, &boxed(100, 100)).unwrap();
    assert!(!made.bytes.windows(4).any(|window| window == b"Exif"));
}

#[test]
fn only_a_fitting_colour_profile_is_passed_on() {
    let profile = |space: &[u8; 4]| {
        let mut profile = vec![7; 64];
        profile[16..20].copy_from_slice(space);
        profile
    };
    for (space, passed) in [(b"RGB ", true), (b"CMYK", false)] {
        let mut file = Vec::new();
        let mut encoder = PngEncoder::new(&mut file);
        encoder.set_icc_profile(profile(space)).unwrap();
        let picture = halves(20, 20);
        encoder.write_image(&picture, 20, 20, image::ExtendedColorType::Rgb8).unwrap();
        let made = shrink(&file, &Request { format: Some(Format::Jpeg), ..boxed(8, 8) }).unwrap();
        let found = made.bytes.windows(64).any(|window| window == profile(space));
        assert_eq!(found, passed, "{space:?}");
    }
}

#[test]
fn transparent_pixels_lend_no_colour() {
    let picture = RgbaImage::from_fn(64, 64, |x, _| {
        if x % 2 == 0 { Rgba([0, 0, 255, 255]) } else { Rgba([255, 0, 0, 0]) }
    });
    let made = shrink(&png(picture), &boxed(16, 16)).unwrap();
    for pixel in open(&made).to_rgba8().pixels() {
        assert!(pixel.0[0] < 8 && pixel.0[2] > 240, "{pixel:?}");
        assert!((100..156).contains(&pixel.0[3]), "{pixel:?}");
    }
}

#[test]
fn jpeg_shows_the_background() {
    let clear = RgbaImage::from_pixel(32, 32, Rgba([255, 0, 0, 0]));
    let background = [0, 200, 0];
    let request = Request { format: Some(Format::Jpeg), background, ..boxed(16, 16) };
    let made = shrink(&png(clear), &request).unwrap();
    let [red, green, blue] = open(&made).to_rgb8().get_pixel(8, 8).0;
    assert!(red < 8 && green.abs_diff(200) < 8 && blue < 8, "{red} {green} {blue}");
}

#[test]
fn quality_changes_the_size_of_a_jpeg() {
    let size = |quality| {
        let request = Request { quality, ..boxed(300, 300) };
        shrink(SAMPLES[1].0, &request).unwrap().bytes.len()
    };
    assert!(size(20) < size(95));
}

#[test]
fn deep_and_grey_pictures_are_read() {
    let deep = DynamicImage::ImageRgb16(image::ImageBuffer::from_pixel(9, 9, Rgb([65_535, 0, 0])));
    assert_eq!(
        open(&shrink(&png(deep), &boxed(3, 3)).unwrap()).to_rgb8().get_pixel(1, 1).0,
        [255, 0, 0]
    );
    let grey = image::GrayImage::from_pixel(9, 9, image::Luma([99]));
    let made = open(&shrink(&png(grey), &boxed(3, 3)).unwrap());
    assert_eq!(made.color(), image::ColorType::L8);
    assert_eq!(made.to_luma8().get_pixel(1, 1).0, [99]);
}

#[test]
fn what_is_no_image_is_refused() {
    for (file, words) in [
        (&b""[..], "the input is empty"),
        (b"hello, world", "12 bytes of input are no known image"),
        (b"GIF89a\x01\0\x01\0\0\0\0", "Gif image"),
    ] {
        let error = shrink(file, &Request::default()).unwrap_err();
        assert!(matches!(error, PictureError::UnknownFormat { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    for (sample, _) in SAMPLES {
        let error = shrink(&sample[..40], &Request::default()).unwrap_err();
        assert!(matches!(error, PictureError::Malformed { .. }), "{error}");
    }
}

/// A PNG whose header claims a size; its few bytes hold no such picture.
fn claiming_png(width: u32, height: u32) -> Vec<u8> {
    let mut file = png(RgbImage::new(8, 8));
    file[16..20].copy_from_slice(&width.to_be_bytes());
    file[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = !file[12..29].iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    });
    file[29..33].copy_from_slice(&sum.to_be_bytes());
    file
}

#[test]
fn an_image_that_claims_too_much_is_refused_before_it_is_decoded() {
    for (width, height) in [(16_385, 1), (1, 100_000), (10_000, 10_000)] {
        let error = shrink(&claiming_png(width, height), &Request::default()).unwrap_err();
        let PictureError::TooLarge { width_px, height_px, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((width_px, height_px), (width, height));
    }
    let honest = shrink(&claiming_png(9, 9), &Request::default()).unwrap_err();
    assert!(matches!(honest, PictureError::Malformed { .. }), "{honest}");
}

/// Each sample as a small file of its own format.
static SMALL: LazyLock<[Vec<u8>; 3]> =
    LazyLock::new(|| SAMPLES.map(|(sample, _)| shrink(sample, &boxed(24, 24)).unwrap().bytes));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_give_a_thumbnail_or_an_error(file in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = shrink(&file, &Request::default());
    }

    #[test]
    fn damaged_images_give_a_thumbnail_or_an_error(
        which in 0_usize..3,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        keep in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut file = SMALL[which].clone();
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if cut {
            file.truncate(keep.index(file.len()));
        }
        if let Ok(made) = shrink(&file, &boxed(16, 16)) {
            prop_assert!(made.width_px <= 16 && made.height_px <= 16);
        }
    }
}
