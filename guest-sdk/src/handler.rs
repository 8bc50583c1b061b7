//! A handler and a plugin as types, so that dispatch is decided at compile time.

use crate::{Description, Failure, Payload, Task};

/// The code for one task type. Implemented by [`handler`](macro@crate::handler) for
/// a type that has the function's name.
pub trait Handler {
    /// The task type that it is for.
    const TASK_TYPE: &'static str;

    /// Up to how many tasks it takes at a time; 1 if it takes no batches.
    const MAX_BATCH: u32 = 1;

    /// What the plugin says about it.
    fn describe() -> Description;

    /// Decode the payload, run the handler, encode its output.
    fn handle(task: &Task, payload: Payload) -> Result<Payload, Failure>;

    /// Do that for several tasks at once, with a result for each. A handler that takes no
    /// batches runs once for each.
    #[must_use]
    fn handle_batch(items: Vec<(Task, Payload)>) -> Vec<Result<Payload, Failure>> {
        let alone = items.into_iter().map(|(task, payload)| {
            task.focus();
            Self::handle(&task, payload)
        });
        alone.collect()
    }
}

/// A set of handlers with a name and a version. Implemented by `plugin!`.
#[doc(hidden)]
pub trait Plugin {
    const NAME: &'static str;
    const VERSION: &'static str;

    fn describe() -> Vec<Description>;

    fn handle(task: &Task, payload: Payload) -> Result<Payload, Failure>;

    fn handle_batch(items: Vec<(Task, Payload)>) -> Vec<Result<Payload, Failure>>;
}

/// Make a component of one or more handlers.
///
/// Written once in a crate, at its top level; the crate's type is `cdylib`. The
/// plugin's name and version are those of the crate. Two handlers for one task type
/// do not compile.
///
/// ```
/// use bulkhead_guest::prelude::*;
///
/// #[handler]
/// fn shout(text: String) -> String {
///     text.to_uppercase()
/// }
///
/// plugin!(shout);
/// ```
///
/// ```compile_fail,E0080
/// use bulkhead_guest::prelude::*;
///
/// #[handler]
/// fn shout(text: String) -> String { text.to_uppercase() }
///
/// #[handler(task_type = "shout")]
/// fn cry(text: String) -> String { text.to_uppercase() }
///
/// plugin!(shout, cry);
/// ```
#[macro_export]
macro_rules! plugin {
    ($($handler:path),+ $(,)?) => {
        const _: () = {
            struct Plugin;

            impl $crate::__private::Plugin for Plugin {
                const NAME: &'static str = ::core::env!("CARGO_PKG_NAME");
                const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");

                fn describe() -> ::std::vec::Vec<$crate::Description> {
                    ::std::vec![$(<$handler as $crate::Handler>::describe()),+]
                }

                fn handle(
                    task: &$crate::Task,
                    payload: $crate::Payload,
                ) -> ::core::result::Result<$crate::Payload, $crate::Failure> {
                    $(
                        if task.task_type == <$handler as $crate::Handler>::TASK_TYPE {
                            return <$handler as $crate::Handler>::handle(task, payload);
                        }
                    )+
                    $crate::__private::unknown(task)
                }

                fn handle_batch(
                    items: ::std::vec::Vec<($crate::Task, $crate::Payload)>,
                ) -> ::std::vec::Vec<
                    ::core::result::Result<$crate::Payload, $crate::Failure>,
                > {
                    let task_type = items.first().map_or("", |(task, _)| &task.task_type);
                    $(
                        // Of a handler that takes no batches nothing is compiled here.
                        if <$handler as $crate::Handler>::MAX_BATCH > 1
                            && task_type == <$handler as $crate::Handler>::TASK_TYPE
                        {
                            return <$handler as $crate::Handler>::handle_batch(items);
                        }
                    )+
                    items.iter().map(|(task, _)| $crate::__private::unknown(task)).collect()
                }
            }

            ::core::assert!(
                $crate::__private::names_differ(&[
                    $(<$handler as $crate::Handler>::TASK_TYPE),+
                ]),
                "two handlers of this plugin have the same task type",
            );

            $crate::__export!(Plugin);
        };
    };
    () => {
        ::core::compile_error!("a plugin has at least one handler: write `plugin!(my_handler);`");
    };
}

/// Emit the component's exports.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($plugin:ident) => {
        $crate::__private::bindings::__export_plugin!(
            $plugin with_types_in $crate::__private::bindings
        );
    };
}

/// Natively there is nobody to export to; a reference keeps the code checked.
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($plugin:ident) => {
        let _ = <$plugin as $crate::__private::Plugin>::handle;
        let _ = <$plugin as $crate::__private::Plugin>::handle_batch;
        let _ = <$plugin as $crate::__private::Plugin>::describe;
    };
}

/// The answer to a task type that the plugin does not have. The host never asks.
#[doc(hidden)]
#[cold]
pub fn unknown(task: &Task) -> Result<Payload, Failure> {
    let mut message = String::from("this plugin has no handler for the task type ");
    message.push_str(&task.task_type);
    Err(Failure::permanent(message))
}

/// Whether no two of `names` are equal.
#[doc(hidden)]
#[must_use]
pub const fn names_differ(names: &[&str]) -> bool {
    let mut left = 0;
    while left < names.len() {
        let mut right = left + 1;
        while right < names.len() {
            if equal(names[left].as_bytes(), names[right].as_bytes()) {
                return false;
            }
            right += 1;
        }
        left += 1;
    }
    true
}

const fn equal(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_found_wherever_they_are() {
        for (names, differ) in [
            (&["a"][..], true),
            (&["a", "b", "ab"], true),
            (&["a", "a"], false),
            (&["a", "b", "c", "b"], false),
        ] {
            assert_eq!(names_differ(names), differ, "{names:?}");
        }
    }
}
