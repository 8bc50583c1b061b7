//! What a producer may ask of a thumbnail, read from the task's metadata.
//!
//! Every number is bounded here, so that the rest can trust it. Unknown keys are
//! left alone, since metadata also carries what other parties put there.

use thiserror::Error;

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

/// A parameter with a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("metadata `{key}` is {value:?}; use {expected}")]
pub struct RequestError {
    /// The metadata key.
    pub key: &'static str,
    /// The value it had, at most 100 characters of it.
    pub value: String,
    /// The values it could have.
    pub expected: &'static str,
}

impl RequestError {
    fn new(key: &'static str, value: &str, expected: &'static str) -> Self {
        Self { key, value: value.chars().take(100).collect(), expected }
    }
}

impl Request {
    /// Read the request through `meta`, which looks up a metadata key.
    ///
    /// # Errors
    ///
    /// If a key that is known here has a value that it cannot have.
    pub fn read<'m>(meta: impl Fn(&'static str) -> Option<&'m str>) -> Result<Self, RequestError> {
        let default = Self::default();
        let side = |key, default| match meta(key) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|px| (1..=MAX_SIDE_PX).contains(px))
                .ok_or_else(|| RequestError::new(key, text, "a whole number from 1 to 4096")),
        };
        let fit = match meta("fit") {
            None | Some("contain") => Fit::Contain,
            Some("cover") => Fit::Cover,
            Some(other) => return Err(RequestError::new("fit", other, "`contain` or `cover`")),
        };
        let format = match meta("format") {
            None | Some("same") => None,
            Some("png") => Some(Format::Png),
            Some("jpeg" | "jpg") => Some(Format::Jpeg),
            Some("webp") => Some(Format::WebP),
            Some(other) => {
                let expected = "`same`, `png`, `jpeg` or `webp`";
                return Err(RequestError::new("format", other, expected));
            }
        };
        let quality = match meta("quality") {
            None => default.quality,
            Some(text) => {
                text.parse().ok().filter(|quality| (1..=100).contains(quality)).ok_or_else(
                    || RequestError::new("quality", text, "a whole number from 1 to 100"),
                )?
            }
        };
        let background = match meta("background") {
            None => default.background,
            Some(text) => colour(text).ok_or_else(|| {
                RequestError::new("background", text, "a colour such as `#ffffff`")
            })?,
        };
        Ok(Self {
            width_px: side("width", default.width_px)?,
            height_px: side("height", default.height_px)?,
            fit,
            format,
            quality,
            background,
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

    fn read(key: &'static str, value: &'static str) -> Result<Request, RequestError> {
        Request::read(|asked| (asked == key).then_some(value))
    }

    #[test]
    fn nothing_asked_gives_the_defaults() {
        assert_eq!(Request::read(|_| None), Ok(Request::default()));
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
            assert!(error.to_string().contains(error.expected), "{error}");
        }
    }
}
