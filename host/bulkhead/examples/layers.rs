//! A layer of one's own around attempts: office hours. Beside it one that the host has.
//!
//! ```sh
//! cargo xtask guests                                # builds target/plugins
//! cargo run -p bulkhead --example layers -- target/plugins
//! ```
//!
//! The layer is an ordinary type: it sees a task before it runs and its end afterwards. This one
//! gives tasks back while the office is closed, which costs them no attempt, and notes in the
//! result when it was written.

// An example talks on the terminal.
#![allow(clippy::print_stdout, reason = "a command-line program talks on the terminal")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use bulkhead::core::{Outcome, Payload, QueueName, TaskType};
use bulkhead::layers::{AttemptLayer, AttemptReply, AttemptRequest, NamedLayer, Next, Timeout};
use bulkhead::queue::{Broker, Client, EmbeddedBroker, NewTask, SubmitLimits};
use bulkhead::{Compiler, Host, HostOptions, QueueOptions, Shutdown};

/// Lets attempts through while the office is open.
#[derive(Default)]
struct OfficeHours {
    open: AtomicBool,
    turned_away: AtomicU32,
}

#[async_trait]
impl AttemptLayer for OfficeHours {
    async fn around<'a>(&'a self, request: AttemptRequest<'a>, next: Next<'a>) -> AttemptReply {
        if !self.open.load(Ordering::SeqCst) {
            self.turned_away.fetch_add(1, Ordering::SeqCst);
            // The host claims no task of this type for so long.
            return AttemptReply::returned("the office is closed", Duration::from_millis(100));
        }
        let mut reply = next.run(request).await;
        if let AttemptReply::Ended(end) = &mut reply
            && let Outcome::Done(output) = &mut end.outcome
        {
            output.data.extend_from_slice(b"<!-- during office hours -->\n");
        }
        reply
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let Some(plugins) = std::env::args().nth(1) else { bail!("usage: layers PLUGIN-FOLDER") };
    let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory().accepting_loss());
    let office = Arc::new(OfficeHours::default());
    let queue = QueueName::new("office")?;
    let options = HostOptions {
        queues: vec![QueueOptions {
            // The outermost first.
            layers: vec![
                NamedLayer { name: "office_hours".into(), layer: office.clone() },
                NamedLayer::new("timeout", Timeout { after: Duration::from_secs(10) }),
            ],
            ..QueueOptions::new(queue.clone())
        }],
        plugin_dir: plugins.into(),
        compiler: Some(Compiler::InProcess),
        ..HostOptions::default()
    };
    let (trigger, shutdown) = Shutdown::new();
    let serving = tokio::spawn(Host::builder(broker.clone(), options).build()?.run(shutdown));

    let client = Client::new(broker, SubmitLimits::default());
    let document = Payload::new("text/markdown; charset=utf-8", "# Minutes\n");
    let task =
        NewTask { queue: queue.clone(), ..NewTask::new(TaskType::new("markdown")?, document) };
    let submitted = client.submit(task).await?;
    while office.turned_away.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    office.open.store(true, Ordering::SeqCst);
    let ended = client
        .wait(&queue, submitted.id, Duration::from_secs(30))
        .await?
        .context("the task has not ended; does the plugin folder hold `markdown.wasm`?")?;
    trigger.drain();
    serving.await.context("the host's task panicked")??;
    let report = ended.last_report().context("the task was cancelled before it ran")?;
    match &report.outcome {
        Outcome::Done(output) => {
            let page = String::from_utf8_lossy(&output.data);
            println!("attempt {} of {}:\n{page}", report.attempt, ended.attempts());
        }
        Outcome::Failed(failure) => bail!("{}: {}", failure.kind, failure.message),
    }
    Ok(())
}
