//! The plugins that ship with Bulkhead, through a real host: real input in, checked
//! output out, bad input refused with what is wrong and where.

use std::path::{Path, PathBuf};

use bulkhead_core::{Digest, FailureKind, Outcome, Payload, State};
use bulkhead_queue::{NewTask, TaskView};
use bulkhead_tests::{HostProcess, RedisServer, Site, failure, install_shipped, output, task};
use serde_json::Value;

/// A host that serves one of the plugins.
struct Workshop {
    site: Site,
    name: &'static str,
    digest: Digest,
    _host: HostProcess,
}

impl Workshop {
    async fn of(name: &'static str) -> Self {
        let site = Site::bare(RedisServer::start()).await;
        let digest = install_shipped(site.folder(), name);
        let host = site.host("host", &[]).await;
        Self { site, name, digest, _host: host }
    }

    async fn run(&self, input: &[u8], metadata: &[(&str, &str)]) -> TaskView {
        let metadata = metadata.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        let new = NewTask { metadata: metadata.collect(), ..task(self.name, input) };
        let id = self.site.client.submit(new).await.expect("submitted").id;
        self.site.wait(id).await
    }

    /// The output for a sample, its attempt measured.
    async fn sample(&self, sample: &str, metadata: &[(&str, &str)]) -> Payload {
        let view = self.run(&self.read_sample(sample), metadata).await;
        assert_eq!(view.state, State::Completed, "{view:?}");
        let report = view.last_report().expect("a report");
        assert_eq!((report.attempt, report.digest), (1, self.digest));
        assert_eq!(report.host, "host");
        let used = report.metering;
        assert!(used.fuel > 10_000 && used.peak_memory_bytes > 1 << 16, "{used:?}");
        assert!(used.cpu_us > 0 && used.wall_us >= used.instantiate_us, "{used:?}");
        match &report.outcome {
            Outcome::Done(payload) => payload.clone(),
            Outcome::Failed(failure) => panic!("{failure:?}"),
        }
    }

    async fn json(&self, sample: &str, metadata: &[(&str, &str)]) -> Value {
        let payload = self.sample(sample, metadata).await;
        assert_eq!(payload.content_type, Payload::JSON);
        serde_json::from_slice(&payload.data).expect("JSON")
    }

    fn read_sample(&self, sample: &str) -> Vec<u8> {
        let path = samples(self.name).join(sample);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Bad input is a dead letter at once, with a reason that says all of `words`.
    async fn refuses(&self, input: &[u8], metadata: &[(&str, &str)], words: &[&str]) {
        let view = self.run(input, metadata).await;
        assert_eq!((view.state, view.attempts()), (State::Failed, 1), "{view:?}");
        let failure = failure(&view);
        assert_eq!(failure.kind, FailureKind::Reject, "{failure:?}");
        for word in words {
            assert!(failure.message.contains(word), "`{word}` is not in: {}", failure.message);
        }
    }

    /// Every sample in the plugin's folder, so that none is forgotten here.
    fn samples(&self) -> Vec<String> {
        let entries = std::fs::read_dir(samples(self.name)).expect("a folder of samples");
        let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.map(|entry| name(entry.expect("an entry"))).collect();
        names.sort();
        names
    }
}

fn samples(plugin: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins").join(plugin).join("samples")
}

#[tokio::test]
async fn markdown_becomes_sanitised_html() {
    let shop = Workshop::of("markdown").await;
    assert_eq!(shop.samples(), ["field-notes.md"]);
    let html = shop.sample("field-notes.md", &[]).await;
    assert_eq!(html.content_type, "text/html; charset=utf-8");
    let html = String::from_utf8(html.data).expect("UTF-8");
    for part in [
        "<h1 id=\"user-content-field-notes-the-harbour-gauge\">",
        "<td style=\"text-align: right\">212</td>",
        "<del>9.4</del>",
        "<code class=\"language-rust\">",
        "href=\"#user-content-readings-of-the-day\"",
        "A link that lost its sting",
    ] {
        assert!(html.contains(part), "`{part}` is not in {html}");
    }
    for harm in ["<script", "document.title", "javascript:", "onclick", "steal()"] {
        assert!(!html.contains(harm), "`{harm}` is in {html}");
    }

    let page = shop.sample("field-notes.md", &[("layout", "page"), ("title", "A & B")]).await;
    let page = String::from_utf8(page.data).expect("UTF-8");
    assert!(page.starts_with("<!doctype html>") && page.contains("<title>A &amp; B</title>"));

    shop.refuses(b"one\ntwo\xff", &[], &["not UTF-8", "byte 7", "line 2"]).await;
    shop.refuses(b"a", &[("layout", "book")], &["metadata `layout`", "\"book\"", "page"]).await;
}

/// Width and height by the file's own header.
fn dimensions(file: &Payload) -> (u32, u32) {
    let bytes = &file.data;
    let be16 = |at: usize| u32::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    match file.content_type.as_str() {
        "image/png" => {
            assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
            let be32 = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four"));
            (be32(16), be32(20))
        }
        "image/webp" => {
            assert_eq!((&bytes[..4], &bytes[8..16]), (&b"RIFF"[..], &b"WEBPVP8L"[..]));
            let bits = u32::from_le_bytes(bytes[21..25].try_into().expect("four"));
            ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
        }
        "image/jpeg" => {
            assert_eq!(be16(0), 0xffd8);
            let mut at = 2;
            loop {
                let marker = be16(at);
                if (0xffc0..=0xffc2).contains(&marker) {
                    return (be16(at + 7), be16(at + 5));
                }
                at += 2 + be16(at + 2) as usize;
            }
        }
        other => panic!("`{other}` is no image type"),
    }
}

#[tokio::test]
async fn images_become_thumbnails() {
    let shop = Workshop::of("thumbnail").await;
    assert_eq!(shop.samples(), ["badge.png", "harbour-upright.webp", "harbour.jpg"]);

    let photo = shop.read_sample("harbour.jpg");
    let (width, height) = dimensions(&Payload::new("image/jpeg", photo.clone()));
    let made = shop.sample("harbour.jpg", &[]).await;
    assert_eq!(made.content_type, "image/jpeg");
    let (w, h) = dimensions(&made);
    assert_eq!(w.max(h), 320);
    let (was, is) = (f64::from(width) / f64::from(height), f64::from(w) / f64::from(h));
    assert!((was / is - 1.0).abs() < 0.02, "{width}x{height} became {w}x{h}");

    let made = shop.sample("badge.png", &[("width", "64"), ("format", "jpeg")]).await;
    assert_eq!((made.content_type.as_str(), dimensions(&made)), ("image/jpeg", (64, 64)));
    let made = shop.sample("badge.png", &[("width", "40"), ("height", "40")]).await;
    assert_eq!((made.content_type.as_str(), dimensions(&made)), ("image/png", (40, 40)));
    let box_of_100x50 = [("width", "100"), ("height", "50"), ("fit", "cover")];
    let made = shop.sample("harbour-upright.webp", &box_of_100x50).await;
    assert_eq!((made.content_type.as_str(), dimensions(&made)), ("image/webp", (100, 50)));

    shop.refuses(b"no image", &[], &["8 bytes", "PNG, JPEG or WebP"]).await;
    shop.refuses(&photo[..200], &[], &["JPEG image cannot be decoded"]).await;
    let wide = [("width", "wide")];
    shop.refuses(&photo, &wide, &["metadata `width`", "\"wide\"", "1 to 4096"]).await;
}

#[tokio::test]
async fn csv_becomes_statistics() {
    let shop = Workshop::of("csv-report").await;
    assert_eq!(shop.samples(), ["cargo-windows-1252.csv", "harbour-readings.csv"]);

    let report = shop.json("harbour-readings.csv", &[]).await;
    assert_eq!((&report["rows"], &report["encoding"]), (&18.into(), &"utf-8".into()));
    let level = &report["columns"][2];
    assert_eq!(level["name"], "level cm");
    assert_eq!(
        (&level["type"], &level["count"], &level["nulls"]),
        (&"integer".into(), &17.into(), &1.into())
    );
    let numbers = &level["numbers"];
    assert_eq!((numbers["min"].as_f64(), numbers["max"].as_f64()), (Some(179.0), Some(240.0)));
    assert_eq!(numbers["sum"].as_f64(), Some(3551.0));
    assert_eq!(numbers["quantiles"]["p50"].as_f64(), Some(208.0));
    let station = &report["columns"][0];
    assert_eq!(station["top"][0], serde_json::json!({ "value": "Lock Gate", "count": 6 }));

    let report = shop.json("cargo-windows-1252.csv", &[]).await;
    assert_eq!((&report["encoding"], &report["delimiter"]), (&"windows-1252".into(), &";".into()));
    let options = [("delimiter", ","), ("header", "false"), ("top", "0")];
    let report = shop.json("harbour-readings.csv", &options).await;
    assert_eq!((&report["rows"], &report["header"]), (&19.into(), &false.into()));
    assert_eq!(report["columns"][0]["top"], serde_json::json!([]));

    shop.refuses(b"", &[], &["no rows"]).await;
    let wide = format!("a,b\n{}", ",".repeat(1_000));
    shop.refuses(wide.as_bytes(), &[], &["line 2", "1001 fields", "`delimiter`"]).await;
    shop.refuses(b"a", &[("header", "perhaps")], &["metadata `header`", "\"perhaps\""]).await;
}

#[tokio::test]
async fn texts_are_recognised_and_counted() {
    let shop = Workshop::of("text-stats").await;
    assert_eq!(shop.samples(), ["deutsch.txt", "english.txt", "nihongo.txt"]);

    let stats = shop.json("english.txt", &[]).await;
    assert_eq!(stats["language"]["code"], "eng");
    assert_eq!(
        (&stats["counts"]["paragraphs"], &stats["counts"]["sentences"]),
        (&4.into(), &11.into())
    );
    assert_eq!(stats["readability"]["scores"][0]["name"], "Flesch reading ease");
    let stats = shop.json("deutsch.txt", &[]).await;
    assert_eq!(stats["language"]["code"], "deu");
    let stats = shop.json("nihongo.txt", &[]).await;
    assert_eq!(stats["language"]["code"], "jpn");
    assert_eq!(stats["words_are_reliable"], false);

    let told = shop.json("deutsch.txt", &[("language", "eng"), ("words-per-minute", "100")]).await;
    assert_eq!(told["language"]["code"], "eng");
    assert_eq!(told["reading_time"]["per_minute"], 100);

    shop.refuses(b"line\nline\n\xff", &[], &["not UTF-8", "byte 10", "line 3"]).await;
    let klingon = [("language", "klingon")];
    shop.refuses(b"a", &klingon, &["metadata `language`", "\"klingon\"", "`eng`"]).await;
}

#[tokio::test]
async fn all_plugins_serve_side_by_side() {
    let site = Site::bare(RedisServer::start()).await;
    for name in ["csv-report", "markdown", "text-stats", "thumbnail"] {
        install_shipped(site.folder(), name);
    }
    let _host = site.host("host", &[]).await;
    for (task_type, input, part) in [
        ("csv-report", "a,b\n1,2\n", "\"rows\":1"),
        ("markdown", "*a*", "<em>a</em>"),
        ("text-stats", "The keeper walks along the wall.", "\"words\":6"),
    ] {
        let view = site.ended(task_type, input).await;
        let output = output(&view);
        assert!(output.contains(part), "{output}");
    }
    let view = site.ended("thumbnail", "a").await;
    assert_eq!(view.state, State::Failed);
}
