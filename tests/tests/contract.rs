//! The OpenAPI document and the API hold each other's word: schemathesis asks what the document
//! allows and looks at each answer; clients that are generated from the document do real work.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bulkhead_stage::{Node, Python};
use bulkhead_tests::{EmbeddedFolder, HostProcess, Http, Ran, eventually};

/// A host whose API everybody on this machine may use.
struct Open {
    _folder: EmbeddedFolder,
    _host: HostProcess,
    api: Http,
}

impl Open {
    async fn new() -> Self {
        let folder = EmbeddedFolder::new();
        let mut command = HostProcess::command();
        command.args(["--broker", &folder.url(), "run", "--name", "h", "--plugins"]);
        command
            .arg(folder.plugins())
            .env("BULKHEAD_API__LISTEN", "127.0.0.1:0")
            .env("BULKHEAD_API__ANONYMOUS", "[\"admin\"]")
            .env("BULKHEAD_API__LONGEST_WAIT", "100ms");
        let host = HostProcess::spawn(command, folder.plugins().join("h.log"));
        let api = Http::of(&host).await;
        eventually("it is ready", || async { (api.get("/readyz").status == 200).then_some(()) })
            .await;
        Self { _folder: folder, _host: host, api }
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/http").canonicalize().expect("there")
}

/// What a program prints, if it works.
#[track_caller]
fn works(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    out.into_owned()
}

/// The document as the binary prints it, in a file of a folder.
fn document(folder: &Path) -> PathBuf {
    let path = folder.join("openapi.json");
    fs::write(&path, Ran::of(&["openapi"]).said()).expect("written");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_breach() {
    let open = Open::new().await;
    open.api.post("/v1/tasks", r#"{"type": "echo", "payload": 1}"#).with(201);
    let packages = Python::with("schemathesis", &examples().join("schemathesis.txt"));
    let folder = tempfile::tempdir().expect("a folder");
    // Where it reads of tokens it makes them up, and hears of nothing but that they are wrong.
    let mut document = open.api.get("/v1/openapi.json").with(200);
    let members = document.as_object_mut().expect("a document");
    members.remove("security").expect("tokens");
    members["components"].as_object_mut().expect("parts").remove("securitySchemes");
    fs::write(folder.path().join("openapi.json"), document.to_string()).expect("written");
    // Streams never end.
    let said = works(
        packages
            .command("schemathesis")
            .args(["run", "openapi.json", "--url", open.api.base()])
            .args(["--exclude-path-regex", "/events$", "--phases", "examples,coverage,fuzzing"])
            .args(["--checks", CHECKS, "--max-examples", "15", "--seed", "7"])
            .args(["--request-timeout", "20", "--no-color"])
            .current_dir(folder.path()),
    );
    assert!(said.contains("Tested: 6"), "{said}");
    assert!(!said.contains("returned only 401"), "{said}");
}

/// No answer of 5xx, and every answer as the document says.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,response_headers_conformance";

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_python_client_does_real_work() {
    let open = Open::new().await;
    let packages = Python::with("http-python", &examples().join("python/requirements.txt"));
    let folder = tempfile::tempdir().expect("a folder");
    let document = document(folder.path());
    works(
        packages
            .command("openapi-python-client")
            .args(["generate", "--meta", "none", "--overwrite", "--path"])
            .arg(document)
            .arg("--output-path")
            .arg(folder.path().join("bulkhead_client")),
    );
    let said = works(
        packages
            .command("python")
            .arg(examples().join("python/example.py"))
            .arg(open.api.base())
            .env("PYTHONPATH", folder.path()),
    );
    assert_eq!(said.trim(), "completed: {'hello': ['from', 'python']}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_typescript_client_does_real_work() {
    let open = Open::new().await;
    let packages = Node::with("http-typescript", &examples().join("typescript/package.json"));
    let document = document(packages.folder());
    works(packages.command("openapi-typescript").arg(document).args(["-o", "bulkhead.d.ts"]));
    for file in ["example.ts", "tsconfig.json"] {
        fs::copy(examples().join("typescript").join(file), packages.folder().join(file))
            .expect("copied");
    }
    works(&mut packages.command("tsc"));
    let mut node = Command::new("node");
    node.arg(packages.folder().join("example.js")).arg(open.api.base());
    assert_eq!(works(&mut node).trim(), "completed: {\"hello\":[\"from\",\"typescript\"]}");
}
