//! A host inside another program: serve a folder of plugins, submit one task, wait for
//! its output, stop.
//!
//! ```sh
//! cargo xtask guests                                # builds target/plugins
//! cargo run -p bulkhead --example embed -- target/plugins
//! ```
//!
//! The queue is in this process, in memory. `embed target/plugins data` keeps it in the
//! folder `data`, `embed target/plugins redis://127.0.0.1:6379` on a server; nothing else
//! differs.
//!
//! The host takes everything as arguments: broker, options, and how it is told to stop.
//! It installs no signals and no logging; those stay yours.

// An example talks on the terminal.
#![allow(clippy::print_stdout, reason = "a command-line program talks on the terminal")]

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bulkhead::core::{Outcome, Payload, QueueName, TaskType};
use bulkhead::queue::{
    Broker, Client, EmbeddedBroker, NewTask, RedisBroker, RedisConfig, SubmitLimits,
};
use bulkhead::{Compiler, Host, HostOptions, QueueOptions, Shutdown};

const DOCUMENT: &str = "# Hello\n\nRendered **inside** a sandbox. <script>alert('no')</script>\n";

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(plugins), place) = (arguments.next(), arguments.next()) else {
        bail!("usage: embed PLUGIN-FOLDER [FOLDER | REDIS-URL]");
    };

    // One broker serves the host and the client. A queue of our own keeps tasks of other
    // programs on the same broker out of this.
    let broker: Arc<dyn Broker> = match place {
        None => Arc::new(EmbeddedBroker::in_memory().accepting_loss()),
        Some(url) if url.contains("://") => {
            Arc::new(RedisBroker::connect(RedisConfig::new(url)).await?)
        }
        // Reading what is there blocks: a program that does other things meanwhile has
        // `spawn_blocking` for it.
        Some(folder) => Arc::new(EmbeddedBroker::open(folder)?),
    };
    let queue = QueueName::new("embedded")?;
    let options = HostOptions {
        queues: vec![QueueOptions::new(queue.clone())],
        plugin_dir: plugins.into(),
        // For plugins of one's own. For those of strangers, `Compiler::Worker` with the path of
        // the `bulkhead` program, or with this one if it calls `bulkhead::compile_worker`.
        compiler: Some(Compiler::InProcess),
        ..HostOptions::default()
    };

    // The host runs beside the rest of the program until the trigger is pulled.
    let (trigger, shutdown) = Shutdown::new();
    let host = Host::builder(broker.clone(), options).build()?;
    let serving = tokio::spawn(host.run(shutdown));

    // A producer needs the client alone; it may as well live in another process.
    let client = Client::new(broker, SubmitLimits::default());
    let result = render(&client, &queue).await;

    // Let attempts finish and return what was not started, whatever came of the task.
    trigger.drain();
    serving.await.context("the host's task panicked")??;
    println!("{}", result?);
    Ok(())
}

/// Submit one task and wait for what it comes to.
async fn render(client: &Client, queue: &QueueName) -> Result<String> {
    let payload = Payload::new("text/markdown; charset=utf-8", DOCUMENT);
    let task = NewTask {
        queue: queue.clone(),
        metadata: vec![("layout".into(), "page".into())],
        ..NewTask::new(TaskType::new("markdown")?, payload)
    };
    let submitted = client.submit(task).await?;
    let ended = client
        .wait(queue, submitted.id, Duration::from_secs(30))
        .await?
        .context("the task has not ended; does the plugin folder hold `markdown.wasm`?")?;
    let report = ended.last_report().context("the task was cancelled before it ran")?;
    match &report.outcome {
        Outcome::Done(output) => Ok(String::from_utf8_lossy(&output.data).into_owned()),
        Outcome::Failed(failure) => bail!("{}: {}", failure.kind, failure.message),
    }
}
