//! The unique key of a payload.

use bulkhead::core::{Payload, TaskType, TermKey};
use sha2::{Digest, Sha256};

/// The task type and the hash of content type and payload, so that tasks of one type and
/// input are the same.
pub(super) fn payload_key(task_type: &TaskType, payload: &Payload) -> Result<TermKey, String> {
    let mut hash = Sha256::new();
    // The length keeps content type and payload apart.
    hash.update((payload.content_type.len() as u64).to_be_bytes());
    hash.update(payload.content_type.as_bytes());
    hash.update(&payload.data);
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    TermKey::new(format!("{task_type}:{hex}")).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_content_type_and_payload_make_the_key() {
        let key = |task_type: &str, content_type: &str, data: &str| {
            payload_key(&TaskType::new(task_type).unwrap(), &Payload::new(content_type, data))
                .unwrap()
        };
        let one = key("mail", "text/plain", "x");
        assert_eq!(one, key("mail", "text/plain", "x"));
        assert!(one.as_str().starts_with("mail:"), "{one}");
        for other in [
            key("post", "text/plain", "x"),
            key("mail", "text/html", "x"),
            key("mail", "text/plain", "y"),
            key("mail", "text/plainx", ""),
        ] {
            assert_ne!(one, other);
        }
        assert!(key(&"t".repeat(128), "", "").as_str().len() <= TermKey::MAX_BYTES);
    }
}
