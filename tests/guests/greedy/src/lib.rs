//! Handlers that were granted something and take more. Each answers with what it got beyond its
//! grant, `nothing` if it got nothing; some fail on purpose, with what must not be told. Which
//! promise each attacks is in the gallery (`tests/gallery`), what it was granted in its rig.
//! Nothing here is an example to follow.

mod children;
mod files;
mod requests;
mod speech;
mod time;
mod values;

use bulkhead_guest::prelude::*;

plugin!(
    values::kv_keys,
    values::kv_total,
    values::kv_value,
    values::kv_giant,
    values::kv_names,
    values::kv_lies,
    values::kv_list,
    values::kv_operations,
    values::kv_leave,
    values::kv_others,
    files::fs_bytes,
    files::fs_files,
    files::fs_handles,
    files::fs_deep,
    files::fs_sparse,
    files::fs_renames,
    files::fs_paths,
    files::fs_links,
    files::fs_stays,
    requests::http_many,
    requests::http_slow,
    requests::http_endless,
    requests::http_giant_head,
    requests::http_contradiction,
    requests::http_redirect,
    requests::http_forms,
    requests::http_injection,
    requests::http_smuggling,
    requests::http_paths,
    speech::secret_names,
    speech::secret_spoken,
    speech::secret_panic,
    speech::secret_cut,
    children::enqueue_many,
    children::enqueue_others,
    children::enqueue_giant,
    children::enqueue_generations,
    children::sink,
    time::clock_frozen,
    time::json_bomb,
    time::msgpack_bomb,
);

/// What was found, or that nothing was.
fn told(found: impl IntoIterator<Item = String>) -> String {
    let found: Vec<String> = found.into_iter().collect();
    if found.is_empty() { "nothing".to_owned() } else { found.join("; ") }
}
