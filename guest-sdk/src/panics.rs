//! How a panic reaches the host: as one `error` line whose fields say what and
//! where. The trap that follows carries neither, so the host joins the two. The
//! fields' names are a contract with the host.

use std::panic::PanicHookInfo;

use crate::host;

/// Tell the host of every panic from now on.
#[cfg(target_arch = "wasm32")]
pub(crate) fn install() {
    std::panic::set_hook(Box::new(report));
}

/// Write the line.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "used on wasm32 only"))]
fn report(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("a panic without a message");
    let mut fields = vec![("panic.message".to_owned(), message.to_owned())];
    if let Some(location) = panic.location() {
        fields.push(("panic.file".to_owned(), location.file().to_owned()));
        fields.push(("panic.line".to_owned(), location.line().to_string()));
        fields.push(("panic.column".to_owned(), location.column().to_string()));
    }
    host::write_log(log::Level::Error, "the handler panicked", &fields);
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::panic::{catch_unwind, set_hook, take_hook};
    use std::thread;

    use crate::host::stand_in;

    #[test]
    fn a_panic_says_what_and_where() {
        // The hook is the process's; other tests keep theirs.
        let (others, own) = (take_hook(), thread::current().id());
        set_hook(Box::new(move |panic| {
            if thread::current().id() == own { report(panic) } else { others(panic) }
        }));
        stand_in::exchange(Some(stand_in::Attempt {
            deadline: None,
            tasks: vec![stand_in::Seat::default()],
            batch: false,
            focus: None,
            granted: Default::default(),
        }));
        let line = line!() + 1;
        assert!(catch_unwind(|| panic!("{} of {}", 3, 2)).is_err());
        let lines = stand_in::exchange(None).unwrap().tasks.remove(0).lines;

        let [(level, _, fields)] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(*level, log::Level::Error);
        let expected = [
            ("panic.message", "3 of 2"),
            ("panic.file", file!()),
            ("panic.line", &line.to_string()),
            ("panic.column", "33"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(fields[..], expected);
    }
}
