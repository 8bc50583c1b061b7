//! What the page works out by itself, as far as it is plain calculation: run where it runs.

use bulkhead_tests::Tab;
use serde_json::{Value, json};

use crate::stand::Stand;

/// The value of an expression over the names of one of the dashboard's modules.
fn of(tab: &Tab, module: &str, expression: &str) -> Value {
    tab.js(&format!("import(new URL('{module}', location.href)).then((it) => {expression})"))
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_text_and_figures_are_read_as_they_are() {
    let stand = Stand::new().await;
    let tab = stand.tab("read");

    for (hex, wanted) in [
        ("c0", json!(null)),
        ("7f", json!(127)),
        ("e0", json!(-32)),
        ("cdffff", json!(65535)),
        ("d3ffffffffffffffff", json!(-1)),
        ("cfffffffffffffffff", json!("18446744073709551615")),
        ("cb3ff8000000000000", json!(1.5)),
        ("a3616263", json!("abc")),
        ("93010203", json!([1, 2, 3])),
        ("8101a178", json!({"1": "x"})),
        ("81a95f5f70726f746f5f5f01", json!({"__proto__": 1})),
        ("c40201ff", json!("<2 bytes: 01 ff>")),
        ("d60100000000", json!("<extension 1, 4 bytes: 00 00 00 00>")),
    ] {
        assert_eq!(decoded(&tab, hex), wanted, "{hex}");
    }
    let deep = "91".repeat(100) + "c0";
    for (hex, why) in [
        ("a3616", "too early"),
        ("dd", "too early"),
        ("ddffffffff", "too early"),
        ("c1", "means nothing"),
        ("c0c0", "left over"),
        (deep.as_str(), "more than is shown"),
    ] {
        let said = decoded(&tab, hex);
        let said = said.as_str().expect("a reason");
        assert!(said.starts_with("refused") && said.contains(why), "{hex}: {said}");
    }

    let exposed = r#"# TYPE f counter\nf_total{t="b"} 2\nf_total{t="a \\"b\\" {c}"} 7.5\n# EOF"#;
    let found = of(
        &tab,
        "metrics.js",
        &format!(
            "(() => {{ const found = it.parse('{exposed}'); return [found.get('f_total')[1][0].t, it.total(found, 'f_total'), it.total(found, 'none')]; }})()"
        ),
    );
    assert_eq!(found, json!(["a \\\"b\\\" {c}", 9.5, 0]));

    for (call, wanted) in [
        ("it.span(0.5)", "500 µs"),
        ("it.span(1500)", "1.5 s"),
        ("it.span(61000)", "1 min 1 s"),
        ("it.bytes(1536)", "1.5 KiB"),
        ("it.short(1234567)", "1.2 M"),
        ("it.ago(1000, 62000)", "1 min 1 s ago"),
        ("it.ago(1000, 3122000)", "52 min ago"),
        ("it.ago(62000, 1000)", "in 1 min 1 s"),
    ] {
        assert_eq!(of(&tab, "format.js", call), wanted, "{call}");
    }
    assert_eq!(
        of(&tab, "dom.js", r"it.visible('a\r\nb\u202ec\x1b[0m\u{e0041}')"),
        "a\nb\\u{202e}c\\u{1b}[0m\\u{e0041}"
    );
    assert_eq!(
        of(
            &tab,
            "dom.js",
            r"JSON.parse(it.visibleJson(JSON.stringify('\u202e\u{e0041}'))) === '\u202e\u{e0041}'"
        ),
        true
    );
}

fn decoded(tab: &Tab, hex: &str) -> Value {
    let bytes = format!("Uint8Array.from('{hex}'.match(/../g) ?? [], (two) => parseInt(two, 16))");
    of(
        tab,
        "msgpack.js",
        &format!(
            "{{ try {{ return it.decode({bytes}); }} catch (error) {{ return 'refused: ' + error.message; }} }}"
        ),
    )
}
