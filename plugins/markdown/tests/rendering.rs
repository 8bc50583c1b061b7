//! What readers get, and what attackers do not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail where it stands")]

use markdown::{Layout, MAX_DEPTH, Options, RawHtml, RenderError, render, render_bytes};
use proptest::prelude::*;

fn html(document: &str) -> String {
    render(document, &Options::default()).unwrap()
}

#[track_caller]
fn check(document: &str, expected: &str) {
    assert_eq!(html(document).trim_end(), expected);
}

#[test]
fn commonmark() {
    check("*a* **b** `c`", "<p><em>a</em> <strong>b</strong> <code>c</code></p>");
    check("> q", "<blockquote>\n<p>q</p>\n</blockquote>");
    check("```rust\nfn a() {}\n```", "<pre><code class=\"language-rust\">fn a() {}\n</code></pre>");
}

#[test]
fn tables_keep_their_alignment() {
    let table = html("| a | b |\n|:-|-:|\n| 1 | 2 |");
    assert!(table.contains("<th style=\"text-align: left\">a</th>"), "{table}");
    assert!(table.contains("<td style=\"text-align: right\">2</td>"), "{table}");
}

#[test]
fn strikethrough_task_lists_and_alerts() {
    check("~~a~~", "<p><del>a</del></p>");
    let tasks = html("- [x] a\n- [ ] b");
    assert_eq!(tasks.matches("type=\"checkbox\"").count(), 2, "{tasks}");
    assert_eq!(tasks.matches("disabled").count(), 2, "{tasks}");
    assert_eq!(tasks.matches("checked").count(), 1, "{tasks}");
    let alert = html("> [!NOTE]\n> Mind the gap.");
    assert!(alert.contains("<blockquote class=\"markdown-alert-note\">"), "{alert}");
}

#[test]
fn footnotes_link_to_their_definitions() {
    let notes = html("Claim.[^a]\n\n[^a]: Proof.");
    assert!(notes.contains("href=\"#user-content-a\""), "{notes}");
    assert!(notes.contains("id=\"user-content-a\""), "{notes}");
    assert!(notes.contains("class=\"footnote-definition\""), "{notes}");
}

#[test]
fn headings_can_be_linked_to() {
    let headings = html(
        "# The *same* Words\n\n## The same words\n\n### Übung macht’s\n\n# !\n\n[up](#the-same-words)",
    );
    assert!(headings.contains("<h1 id=\"user-content-the-same-words\">"), "{headings}");
    assert!(headings.contains("<h2 id=\"user-content-the-same-words-1\">"), "{headings}");
    assert!(headings.contains("<h3 id=\"user-content-übung-machts\">"), "{headings}");
    assert!(headings.contains("<h1 id=\"user-content-section\">"), "{headings}");
    assert!(headings.contains("href=\"#user-content-the-same-words\""), "{headings}");
}

#[test]
fn what_could_harm_is_dropped() {
    for (document, gone) in [
        ("<script>alert(1)</script>", "alert"),
        ("<style>body{display:none}</style>", "display"),
        ("<img src=x onerror=alert(1)>", "onerror"),
        ("<a href=\"javascript:alert(1)\">a</a>", "javascript"),
        ("[a](javascript:alert(1))", "javascript"),
        ("[a](  JaVaScRiPt:alert(1))", "JaVaScRiPt:"),
        ("[a](&#x6a;avascript:alert(1))", "href"),
        ("![a](data:text/html;base64,PHNjcmlwdD4=)", "data:"),
        ("<iframe src=https://example.com></iframe>", "iframe"),
        ("<form action=/login><input name=pw></form>", "form"),
        ("<form action=/login><input name=pw></form>", "name="),
        ("<input type=password>", "password"),
        ("<p style=\"position:fixed\">a</p>", "style"),
        ("<table><tr><td style=\"background:url(//x)\">a</table>", "style"),
        ("<div class=\"admin-bar\">a</div>", "admin-bar"),
        ("<svg><animate onbegin=alert(1)></svg>", "onbegin"),
        ("<math><mtext><script>alert(1)</script></mtext></math>", "alert"),
        ("<!-- comment -->", "comment"),
        ("<object data=x></object><embed src=x><base href=//x>", "="),
    ] {
        let out = html(document);
        assert!(!out.contains(gone), "{document:?} gave {out:?}");
    }
}

#[test]
fn foreign_links_carry_rel() {
    check(
        "[a](https://example.com)",
        "<p><a href=\"https://example.com\" rel=\"noopener noreferrer nofollow\">a</a></p>",
    );
}

#[test]
fn ids_of_the_document_do_not_meet_those_of_the_page() {
    let out = html("<div id=\"login\">a</div>");
    assert!(out.contains("id=\"user-content-login\""), "{out}");
}

#[test]
fn raw_html_can_be_shown_instead() {
    let options = Options { raw_html: RawHtml::Escape, ..Default::default() };
    let out = render("a <b>c</b>", &options).unwrap();
    assert!(out.contains("a &lt;b&gt;c&lt;/b&gt;"), "{out}");
}

#[test]
fn breaks_and_punctuation_follow_the_options() {
    let options = Options { hard_breaks: true, smart_punctuation: true, ..Default::default() };
    let out = render("\"a\" --\nb", &options).unwrap();
    assert!(out.contains("“a” –<br>"), "{out}");
    assert!(!html("\"a\" --\nb").contains("<br>"));
}

#[test]
fn relative_addresses_follow_the_base() {
    let base_url = Some("https://example.com/docs/".parse().unwrap());
    let options = Options { base_url, ..Default::default() };
    let out = render("[a](b.md) ![i](/c.png) [d](#e) [f](https://g.org/)", &options).unwrap();
    for expected in [
        "href=\"https://example.com/docs/b.md\"",
        "src=\"https://example.com/c.png\"",
        "href=\"#user-content-e\"",
        "href=\"https://g.org/\"",
    ] {
        assert!(out.contains(expected), "{expected} is not in {out}");
    }
}

#[test]
fn a_page_has_a_title_that_cannot_break_out() {
    let titled = |title: Option<&str>, document| {
        let layout = Layout::Page { title: title.map(str::to_owned) };
        render(document, &Options { layout, ..Default::default() }).unwrap()
    };
    assert!(titled(None, "# Hello `x`\n\n# B").contains("<title>Hello x</title>"));
    assert!(titled(None, "a").contains("<title>Document</title>"));
    let page = titled(Some("</title><script>alert(1)</script>"), "a");
    assert!(!page.contains("<script"), "{page}");
    assert!(page.starts_with("<!doctype html>"), "{page}");
}

#[test]
fn bytes_that_are_not_text_are_refused_with_their_place() {
    let refused = render_bytes(b"a\nb\xff", &Options::default());
    assert_eq!(refused, Err(RenderError::NotUtf8 { at: 3, line: 2 }));
    assert_eq!(render_bytes(b"\xef\xbb\xbf# a", &Options::default()), Ok(html("# a")));
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = format!("a\n\n{}a", ">".repeat(MAX_DEPTH + 1));
    assert_eq!(render(&deep, &Options::default()), Err(RenderError::TooDeep { line: 3 }));
    assert!(render(&">".repeat(MAX_DEPTH / 2), &Options::default()).is_ok());
    let long = "a".repeat(markdown::MAX_DOCUMENT_BYTES + 1);
    assert!(matches!(render(&long, &Options::default()), Err(RenderError::TooLong { .. })));
}

proptest! {
    #[test]
    fn any_bytes_give_html_or_an_error(document in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = render_bytes(&document, &Options::default());
    }

    #[test]
    fn markup_soup_never_yields_a_script(document in "([#>*_`|~<&\"'/=!\\-\\[\\]() \n:]|<script|<img |on[a-z]{3}=|javascript:|\\[\\^a\\]|[a-z1]){0,80}") {
        let out = html(&document);
        prop_assert!(!out.contains("<script"), "{}", out);
        let again = render(&out, &Options::default()).unwrap();
        prop_assert!(!again.contains("<script"), "{}", again);
    }
}
