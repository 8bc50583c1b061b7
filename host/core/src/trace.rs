//! W3C Trace Context as text: what a `traceparent` is made of.

/// The parts of a `traceparent`, each in lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent<'a> {
    /// The trace: 32 digits, not all of them 0.
    pub trace: &'a str,
    /// The span: 16 digits, not all of them 0.
    pub span: &'a str,
    /// The flags: 2 digits.
    pub flags: &'a str,
}

impl<'a> TraceParent<'a> {
    /// Read a header's value; nothing if it is none. Versions that are not known may say more at
    /// the end.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split('-');
        let [version, trace, span, flags] = [(); 4].map(|()| parts.next().unwrap_or_default());
        let is_hex = |text: &str, digits: usize| {
            text.len() == digits
                && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let is_id = |text: &str, digits: usize| {
            is_hex(text, digits) && text.bytes().any(|byte| byte != b'0')
        };
        let is_known = is_hex(version, 2) && version != "ff";
        let ends = parts.next().is_none() || version != "00";
        let good = is_known && ends && is_id(trace, 32) && is_id(span, 16) && is_hex(flags, 2);
        good.then_some(Self { trace, span, flags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_parts_are_read_and_later_versions_may_say_more() {
        let parts = TraceParent {
            trace: "4bf92f3577b34da6a3ce929d0e0e4736",
            span: "00f067aa0ba902b7",
            flags: "01",
        };
        assert_eq!(TraceParent::parse(GOOD), Some(parts));
        let later = format!("{}-more", GOOD.replacen("00", "01", 1));
        assert_eq!(TraceParent::parse(&later), Some(parts));
    }

    #[test]
    fn what_is_none_is_nothing() {
        for bad in [
            "",
            "00-1-2-01",
            &GOOD.to_uppercase(),
            &format!("{GOOD}-more"),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replace("00f067aa0ba902b7", "0000000000000000"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("-01", "-1"),
            &GOOD.replace("-01", "-é"),
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }
}
