//! Draws the pictures in `samples/`: `cargo run -p thumbnail --example draw-samples`.

use std::error::Error;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage, Rgba, RgbaImage};

fn main() -> Result<(), Box<dyn Error>> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    std::fs::create_dir_all(&samples)?;
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 72).encode_image(&harbour(1080, 720))?;
    std::fs::write(samples.join("harbour.jpg"), jpeg)?;
    badge(400).save(samples.join("badge.png"))?;
    harbour(480, 640).save(samples.join("harbour-upright.webp"))?;
    Ok(())
}

/// A sun over rows of waves.
fn harbour(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
        let horizon = 0.55;
        if v < horizon {
            let distance = ((u - 0.7) * width as f32).hypot((v - 0.35) * height as f32);
            if distance < 0.09 * height as f32 {
                return Rgb([255, 221, 120]);
            }
            let up = 1.0 - v / horizon;
            return Rgb([
                shade(250.0 - 170.0 * up),
                shade(170.0 - 20.0 * up),
                shade(120.0 + 90.0 * up),
            ]);
        }
        let down = (v - horizon) / (1.0 - horizon);
        let row = (down * 9.0).floor();
        let crest = (u * (40.0 - 3.0 * row) + row * 1.7).sin() * 0.25 + 0.5;
        let lit = if (down * 9.0).fract() < crest { 1.0 } else { 0.75 };
        Rgb([
            shade(40.0 * lit),
            shade((110.0 - 50.0 * down) * lit),
            shade((150.0 - 50.0 * down) * lit),
        ])
    })
}

/// A round badge with a soft edge on a transparent ground.
fn badge(side: u32) -> RgbaImage {
    let radius = side as f32 / 2.0;
    RgbaImage::from_fn(side, side, |x, y| {
        let (dx, dy) = (x as f32 + 0.5 - radius, y as f32 + 0.5 - radius);
        let distance = dx.hypot(dy) / radius;
        let alpha = shade((1.0 - distance) * radius * 16.0);
        let bulkhead = dx.abs() < radius * 0.06 || (dy.abs() < radius * 0.06 && distance < 0.8);
        let [red, green, blue] = match (bulkhead, distance < 0.8) {
            (true, _) => [240, 240, 235],
            (false, true) => [24, 78, 119],
            (false, false) => [217, 93, 57],
        };
        Rgba([red, green, blue, alpha])
    })
}

fn shade(level: f32) -> u8 {
    level.clamp(0.0, 255.0) as u8
}
