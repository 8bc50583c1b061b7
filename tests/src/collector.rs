//! A collector of somebody else's: Rotel, as PyPI has it. It takes spans by OTLP and passes them
//! on by OTLP, so that what comes out was understood.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::receiver::Receiver;
use crate::{eventually_within, target};

/// The version that is installed.
const WANTED: &str = "rotel==0.0.1a15";

/// The collector, ended when dropped.
pub struct Collector {
    child: Child,
    address: SocketAddr,
}

impl Collector {
    /// Start a collector that passes spans on to `receiver`; it is installed if it is not there.
    ///
    /// # Panics
    /// If it cannot be installed or started.
    pub async fn before(receiver: &Receiver) -> Self {
        let program = tokio::task::spawn_blocking(installed).await.expect("it is installed");
        let [address, unused] = [(); 2].map(|()| {
            let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
            free.local_addr().expect("an address")
        });
        let child = Command::new(program)
            .args(["start", "--exporter", "otlp", "--otlp-exporter-protocol", "http"])
            .args(["--otlp-exporter-endpoint", &receiver.url("")])
            .args(["--otlp-http-endpoint", &address.to_string()])
            .args(["--otlp-grpc-endpoint", &unused.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the collector starts");
        let collector = Self { child, address };
        eventually_within(Duration::from_secs(30), "the collector listens", || async {
            TcpStream::connect(address).await.ok()
        })
        .await;
        collector
    }

    /// Where it takes spans.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, in a virtual environment of its own.
fn installed() -> PathBuf {
    let folder = target().join("packages/collector");
    let done = folder.join("installed");
    if !std::fs::read_to_string(&done).is_ok_and(|version| version == WANTED) {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", WANTED]));
        std::fs::write(&done, WANTED).expect("a note");
    }
    let where_it_is = "import rotel, pathlib; print(pathlib.Path(rotel.__file__).parent)";
    let found = run(Command::new(folder.join("bin/python")).args(["-c", where_it_is]));
    Path::new(found.trim()).join("rotel-agent")
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{command:?}: {error}; `cargo xtask setup` installs what is missing")
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
