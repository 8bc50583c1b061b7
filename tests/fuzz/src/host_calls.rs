//! What a guest says over its interfaces, and what is shown of it.

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Unstructured};
use bulkhead::secrets::{Key, KeyRing, SealError, SecretValue, check_value, inspect, open, seal};
use bulkhead_core::{
    LimitsRequest, Payload, Priority, QueueName, Task, TaskType, TenantName, Terms,
};
use bulkhead_queue::{Sealed, SecretId};
use bulkhead_sandbox::fuzzing::{
    Said, bounded, child, forbidden_header, kv_key, kv_text, kv_ttl, logged, redacted, told_length,
};
use bulkhead_sandbox::{ChildBounds, EnqueueGrant, Named};

use crate::escape;

#[derive(Debug, Arbitrary)]
struct Call<'a> {
    text: &'a str,
    queue: Option<&'a str>,
    content_type: &'a str,
    data: &'a [u8],
    metadata: Vec<(&'a str, &'a str)>,
    number: Option<u64>,
    priority: Option<u8>,
    key: Option<&'a str>,
    depth: u8,
    held: (u8, u32),
    any_type: bool,
    has_body: bool,
    log_bytes: u16,
}

/// The parent of every child.
fn parent(depth: u32) -> Task {
    Task {
        id: "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap(),
        task_type: TaskType::new("parent").unwrap(),
        queue: QueueName::new("jobs").unwrap(),
        tenant: TenantName::new("acme").unwrap(),
        priority: Priority::default(),
        payload: Payload::new("", Vec::new()),
        metadata: Vec::new(),
        trace: None,
        limits: LimitsRequest::default(),
        submitted_at: 0,
        terms: Terms { depth, ..Terms::default() },
    }
}

/// Arguments of host calls: what is taken keeps every bound of the grant, whatever was said.
pub fn host_calls(data: &[u8]) {
    let Ok(call) = Call::arbitrary_take_rest(Unstructured::new(data)) else { return };
    if kv_key(call.text).is_ok() {
        assert!((1..=512).contains(&call.text.len()) && !call.text.chars().any(char::is_control));
        assert!(kv_text(call.text).is_ok());
    }
    assert_eq!(
        kv_ttl(call.number).is_ok(),
        call.number.is_none_or(|ms| (1..=366 * 86_400_000).contains(&ms))
    );
    submitted(&call);
    headers(&call);
    shown(&call);
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let limit = u64::from(call.log_bytes);
    let lines = vec![(call.text.to_owned(), pairs(&call.metadata))];
    let kept = logged(limit, lines, &[(true, call.data), (false, call.text.as_bytes())]);
    let bytes: usize = kept.iter().map(|line| line.message.len()).sum();
    assert!(bytes as u64 <= limit, "{bytes} of {limit}");
    assert!(kept.iter().all(|line| line.message.len() <= (8 << 10) + 3));
}

fn submitted(call: &Call<'_>) {
    let mut only = BTreeSet::new();
    only.insert(TaskType::new("child").unwrap());
    let grant = EnqueueGrant {
        types: if call.any_type { Named::Any } else { Named::Only(only) },
        per_attempt: 100,
        bytes: 1 << 20,
        depth: 3,
        ..EnqueueGrant::default()
    };
    let said = Said {
        task_type: if call.has_body { "child".to_owned() } else { call.text.to_owned() },
        queue: call.queue.map(str::to_owned),
        content_type: call.content_type.to_owned(),
        data: call.data.to_owned(),
        metadata: call.metadata.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        priority: call.priority,
        delay_ms: call.number,
        key: call.key.map(str::to_owned),
    };
    let bounds = ChildBounds { payload_bytes: 1_000, metadata_bytes: 100 };
    let parent = parent(u32::from(call.depth % 5));
    let held = (usize::from(call.held.0), u64::from(call.held.1));
    let Ok(made) = child(said, &parent, &grant, bounds, held) else { return };
    let task = &made.task;
    assert!(parent.terms.depth < 3 && held.0 < 100 && held.1 <= 1 << 20);
    assert_eq!(task.terms.depth, parent.terms.depth + 1);
    assert_eq!((&task.tenant, &task.queue), (&parent.tenant, &parent.queue), "no queue is granted");
    assert!(call.any_type || task.task_type.as_str() == "child");
    assert!(task.payload.data.len() <= 1_000 && task.payload.content_type.len() <= 256);
    assert!(task.metadata.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() <= 100);
    assert!(made.delay_ms.is_none_or(|ms| ms <= 366 * 86_400_000));
}

fn headers(call: &Call<'_>) {
    let forbidden = forbidden_header(call.text.as_bytes());
    let name = call.text.to_ascii_lowercase();
    let hop = ["host", "connection", "transfer-encoding", "upgrade", "keep-alive", "te", "trailer"];
    if hop.contains(&name.as_str()) || name.starts_with("proxy-") && forbidden.is_some() {
        assert_eq!(forbidden, Some(true), "{name:?}");
    }
    if call.text.contains(['\r', '\n', ':', ' ', '\0']) {
        assert_eq!(forbidden, None, "no header is injected by a name");
    }
    let values = [call.text.as_bytes(), call.data];
    if let Ok(Some(length)) = told_length(&values, call.has_body) {
        assert!(call.has_body || length == 0);
        let taken = values
            .iter()
            .filter(|value| told_length(&[value], true).is_ok_and(|l| l == Some(length)));
        assert_eq!(taken.count(), 1, "one length, told once");
        let digits = |value: &&[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        assert!(values.iter().any(digits), "in digits");
    }
}

fn shown(call: &Call<'_>) {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!escape::line(call.text).chars().any(steers));
    assert!(!escape::block(call.text).chars().any(|c| steers(c) && c != '\n' && c != '\t'));
    assert!(!escape::brief(call.text, usize::from(call.depth)).chars().any(steers));
    let max = usize::from(call.log_bytes).max(3);
    let cut = bounded(call.text.to_owned(), max);
    assert!(cut.len() <= max);
    assert!(call.text.starts_with(cut.strip_suffix('…').unwrap_or(&cut)));
}

#[derive(Debug, Arbitrary)]
struct Spoken<'a> {
    secret: &'a str,
    other: &'a str,
    before: &'a str,
    after: &'a str,
    form: u8,
    max: u16,
}

/// A secret in the middle of a text, in one of its forms or cut: no six bytes of it in a row
/// that are not in the rest of the text stay.
pub fn redaction(data: &[u8]) {
    let Ok(spoken) = Spoken::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let Spoken { secret, other, before, after, .. } = spoken;
    // What could be mistaken for a replacement or for a mark of what was cut is of no use here.
    let value = SecretValue::new(secret.to_owned());
    if check_value(&value).is_err() || secret.contains(['[', ']', '…']) || secret.len() > 2_000 {
        return;
    }
    let said = match spoken.form % 4 {
        0 => secret.to_owned(),
        1 => secret.escape_debug().to_string(),
        2 => format!("{secret:?}"),
        _ => secret.lines().next().unwrap_or_default().trim().to_owned(),
    };
    let secrets = [("token".to_owned(), secret.to_owned()), ("other".to_owned(), other.to_owned())];
    let max = usize::from(spoken.max).max(3);
    let text = bounded(format!("{before}{said}{after}"), max);
    let had = text.len();
    let told = redacted(&secrets, text);
    assert!(told.len() <= had.max(256) + 256, "{} of {had}", told.len());
    if said.len() >= 6 {
        let around = format!("{before}\0{after}\0[secret token]\0[secret other]\0…");
        assert!(!told.contains(&said) || around.contains(&said), "{told:?} {said:?}");
    }
}

/// A sealed secret that was changed opens no more, and any bytes are refused in peace.
pub fn sealed(data: &[u8]) {
    let key = Key::parse(&"07".repeat(32)).unwrap();
    let ring = KeyRing::new(key.clone(), Vec::new());
    let id: SecretId = "acme/token".parse().unwrap();
    let any = Sealed(data.to_vec());
    let _ = inspect(&any);
    assert!(open(&ring, "ns", &id, &any).is_err(), "nobody else has the key");
    let _ = Key::parse(&String::from_utf8_lossy(data));
    let value = SecretValue::new("s3cret-value".to_owned());
    let whole = seal(&key, "ns", &id, &value, 1_700_000_000_000).unwrap();
    let mut changed = whole.clone();
    for (byte, change) in changed.0.iter_mut().zip(data) {
        *byte ^= change;
    }
    if changed == whole {
        assert_eq!(open(&ring, "ns", &id, &changed), Ok(value));
    } else {
        let refused = open(&ring, "ns", &id, &changed).map(drop).unwrap_err();
        assert!(!matches!(refused, SealError::Unsealable(_)));
    }
}
