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
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
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
