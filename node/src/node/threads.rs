//! The threads and tasks of a node: each part that blocks has a thread of its own, driven by the runtime's timers; all
//! end when the node is told to stop, and the first that fails says why.

use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::Fault;

/// Running parts.
pub struct Threads {
    stop: watch::Sender<bool>,
    running: Vec<JoinHandle<()>>,
    tasks: tokio::task::JoinSet<()>,
    fault_sender: mpsc::Sender<Fault>,
    faults: mpsc::Receiver<Fault>,
}

impl Threads {
    pub fn new() -> Self {
        let (fault_sender, faults) = mpsc::channel(16);
        let (stop, running, tasks) = (watch::Sender::new(false), Vec::new(), tokio::task::JoinSet::new());
        Self { stop, running, tasks, fault_sender, faults }
    }

    /// Runs a part on a thread of its own: it may block, and the other parts do not feel it.
    pub fn run<F>(&mut self, part: &'static str, future: F) -> Result<(), Fault>
    where
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        let (runtime, mut stop, faults) = (Handle::current(), self.stop.subscribe(), self.fault_sender.clone());
        let body = move || {
            let outcome = runtime.block_on(async {
                tokio::select! {
                    outcome = future => Some(outcome),
                    _ = stop.wait_for(|stop| *stop) => None,
                }
            });
            let fault = match outcome {
                None => return,
                // It ended because its neighbour was told to stop before it was.
                Some(Ok(())) if *stop.borrow() => return,
                Some(Ok(())) => Fault::Ended { part },
                Some(Err(fault)) => fault,
            };
            tracing::error!(part, %fault, "a part of the node stopped");
            if faults.try_send(fault).is_err() {
                tracing::debug!(part, "another part failed before");
            }
        };
        self.running.push(std::thread::Builder::new().name(part.to_owned()).spawn(body)?);
        Ok(())
    }

    /// Runs a part that never blocks as a task.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(future);
    }

    /// The first fault of any part.
    pub async fn failed(&mut self) -> Fault {
        // This struct holds a sender, so the channel is never closed.
        self.faults.recv().await.unwrap_or(Fault::Ended { part: "node" })
    }

    /// Tells every part to stop, and waits until each has.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        self.tasks.shutdown().await;
        let running = std::mem::take(&mut self.running);
        let joined = tokio::task::spawn_blocking(move || {
            running
                .into_iter()
                .filter(|thread| !thread.is_finished())
                .map(JoinHandle::join)
                .filter(Result::is_err)
                .count()
        });
        match joined.await {
            Ok(0) => {}
            Ok(panicked) => tracing::error!(panicked, "parts of the node panicked"),
            Err(error) => tracing::error!(%error, "parts of the node were not waited for"),
        }
    }
}
