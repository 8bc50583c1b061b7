//! What a producer may ask of a thumbnail, read from the task's metadata.
//!
//! Every number is bounded here, so that the rest can trust it. Unknown keys are
//! left alone, since metadata also carries what other parties put there.

use bulkhead_guest::options::{OptionError, Reader};

/// The largest side that may be asked for, in pixels.
pub const MAX_SIDE_PX: u32 = 4096;

/// What thumbnail is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The widest it may be, in pixels.
    pub width_px: u32,
    /// The highest it may be, in pixels.
    pub height_px: u32,
    /// How the image meets the box.
    pub fit: Fit,
    /// The format to write; without it, that of the input.
    pub format: Option<Format>,
    /// JPEG quality, from 1 to 100. PNG and WebP are written without loss.
    pub quality: u8,
    /// The colour behind transparent pixels when the format has no transparency.
    pub background: [u8; 3],
}

impl Default for Request {
    fn default() -> Self {
        Self {
            width_px: 320,
            height_px: 320,
            fit: Fit::Contain,
            format: None,
            quality: 82,
            background: [255; 3],
        }
    }
}

/// How an image meets the box that it is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// All of the image, at most as large as the box, never enlarged.
    Contain,
    /// The box filled, what sticks out cut off evenly; never enlarged, so a smaller
    /// image gives a smaller thumbnail of the box's proportions.
    Cover,
}

/// A format that is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// PNG, without loss.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP; written without loss.
    WebP,
}

impl Format {
    /// The media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::WebP => "image/webp",
        }
    }
}

impl Request {
    /// Read the request of a task.
    ///
    /// # Errors
    ///
    /// If a key that is known here has a value that it cannot have.
    pub fn read(given: Reader<'_>) -> Result<Self, OptionError> {
        let default = Self::default();
        let fits = [("contain", Fit::Contain), ("cover", Fit::Cover)];
        let formats = [
            ("same", None),
            ("png", Some(Format::Png)),
            ("jpeg", Some(Format::Jpeg)),
            ("jpg", Some(Format::Jpeg)),
            ("webp", Some(Format::WebP)),
        ];
        let side =
            |key, default| given.number(key, 1..=MAX_SIDE_PX).map(|side| side.unwrap_or(default));
        let background = given.parsed("background", "a colour such as `#ffffff`", colour)?;
        Ok(Self {
            width_px: side("width", default.width_px)?,
            height_px: side("height", default.height_px)?,
            fit: given.choice("fit", &fits)?.unwrap_or(default.fit),
            format: given.choice("format", &formats)?.unwrap_or(default.format),
            quality: given.number("quality", 1..=100)?.unwrap_or(default.quality),
            background: background.unwrap_or(default.background),
        })
    }
}

fn colour(text: &str) -> Option<[u8; 3]> {
    let digits = text.strip_prefix('#')?;
    if digits.len() != 6 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let [_, red, green, blue] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
    Some([red, green, blue])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &'static str, value: &'static str) -> Result<Request, OptionError> {
        Request::read(Reader::of(&[(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn nothing_asked_gives_the_defaults() {
        assert_eq!(Request::read(Reader::of(&[])), Ok(Request::default()));
    }

    #[test]
    fn each_parameter_is_read() {
        assert_eq!(read("width", "4096").unwrap().width_px, 4096);
        assert_eq!(read("height", "1").unwrap().height_px, 1);
        assert_eq!(read("fit", "cover").unwrap().fit, Fit::Cover);
        assert_eq!(read("format", "jpg").unwrap().format, Some(Format::Jpeg));
        assert_eq!(read("format", "webp").unwrap().format, Some(Format::WebP));
        assert_eq!(read("quality", "100").unwrap().quality, 100);
        assert_eq!(read("background", "#0a0B0c").unwrap().background, [10, 11, 12]);
    }

    #[test]
    fn a_bad_value_is_refused_by_name() {
        for (key, value) in [
            ("width", "0"),
            ("width", "4097"),
            ("height", "-1"),
            ("height", "1e2"),
            ("fit", "stretch"),
            ("format", "gif"),
            ("quality", "0"),
            ("quality", "101"),
            ("background", "white"),
            ("background", "#fff"),
            ("background", "#+fffff"),
            ("background", "#äöü"),
        ] {
            let error = read(key, value).unwrap_err();
            assert_eq!(error.key, key);
            assert!(error.to_string().contains(&error.expected), "{error}");
        }
    }
}
