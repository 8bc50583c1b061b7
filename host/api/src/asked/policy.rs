//! A queue's policy as a JSON document.

use bulkhead_core::{QueuePolicy, Rate};
use serde_json::Value;

/// The policy that a document describes. A rate may be written as text, such as
/// `10/s burst 20`.
pub fn policy_of(mut document: Value) -> Result<QueuePolicy, String> {
    read_rates(&mut document)?;
    serde_json::from_value(document).map_err(|error| error.to_string())
}

/// Put numbers in place of rates that are written as text.
fn read_rates(value: &mut Value) -> Result<(), String> {
    let Value::Object(members) = value else { return Ok(()) };
    for (name, member) in members {
        match member {
            Value::String(text) if name == "rate" => {
                let rate: Rate = text.parse()?;
                *member = serde_json::to_value(rate).map_err(|error| error.to_string())?;
            }
            member => read_rates(member)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<QueuePolicy, String> {
        policy_of(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn rates_may_be_written_as_text_wherever_they_are() {
        let read = policy(
            r#"{"rate": "10/s", "types": {"mail": {"rate": "1/s burst 2"}}, "keys": {"smtp:*": {}},
                "other_tenants": {"rate": {"interval_us": 5, "burst": 1}}}"#,
        )
        .unwrap();
        assert_eq!(read.rate, Rate::new(10, 1_000_000, 10));
        assert_eq!(read.types.values().next().unwrap().rate, Rate::new(1, 1_000_000, 2));
        assert_eq!(read.other_tenants.unwrap().rate, Some(Rate { interval_us: 5, burst: 1 }));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for (text, says) in [
            (r#"{"concurency": 1}"#, "concurency"),
            (r#"{"rate": "often"}"#, "is no rate"),
            (r#"{"tenants": {"a b": {}}}"#, "a b"),
        ] {
            let error = policy(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
