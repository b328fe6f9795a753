//! `run`: reads everything the node needs, starts its logs and its listeners, and runs it until it is told to stop or a
//! part of it fails. What the node does is in `node`, what the listeners answer in `api` and `ops`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mingzhang_ledger::outcome::Code;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use super::answer::{Answer, Failure};
use super::session::Session;
use crate::api;
use crate::config::{Config, LogFormat, LogLevel};
use crate::engine::EngineFault;
use crate::listener;
use crate::network::NetworkFault;
use crate::node::{self, Fault, Node, Start};
use crate::ops;
use crate::setup::{self, SetupFault};
use crate::store::{Store, StoreFault};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Configuration of the node 节点配置
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The disk was lost: when this consensus key was used for the last time, RFC 3339 数据丢失:共识密钥最后使用的时间
    #[arg(long, value_name = "TIME")]
    lost_at: Option<jiff::Timestamp>,
    /// For trials in a development network: a clock that is wrong by so much 仅限试验网络:时钟偏差
    #[arg(long, value_name = "MS", default_value_t = 0, allow_negative_numbers = true, hide = true)]
    clock_offset_ms: i64,
}

impl From<SetupFault> for Failure {
    fn from(fault: SetupFault) -> Self {
        Self { code: fault.code(), detail: fault.to_string() }
    }
}

impl From<StoreFault> for Failure {
    fn from(fault: StoreFault) -> Self {
        let text = fault.to_string();
        // The store's sentences begin with their code, for logs; here the code stands apart.
        let prefix = format!("{}: ", fault.code());
        let detail = text.strip_prefix(&prefix).unwrap_or(&text).to_owned();
        Self { code: fault.code(), detail }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let code = match &fault {
            Fault::Store(fault) | Fault::Engine(EngineFault::Store(fault)) => return fault.clone().into(),
            Fault::Network(NetworkFault::Listen { .. }) => 5007,
            Fault::Engine(EngineFault::Signer(_)) => 5022,
            Fault::Network(NetworkFault::Setup(_))
            | Fault::Engine(EngineFault::ExecutorGone)
            | Fault::Founding(_)
            | Fault::Executor(_)
            | Fault::Guard(_)
            | Fault::Thread(_)
            | Fault::Ended { .. } => 5024,
        };
        Self { code: Code(code), detail: fault.to_string() }
    }
}

/// Threads for reads and writes on behalf of the API and peers. More would not make the disk faster, and each keeps
/// memory of its own.
const BLOCKING_THREADS: usize = 16;

pub fn run(session: &Session, arguments: &Arguments) -> Result<Answer, Failure> {
    let config = Config::read(&arguments.config)?;
    // `init` gives one node's keys one passphrase, so it is asked for once.
    let mut known = None;
    let mut start = setup::read(config, |path: &Path| {
        let passphrase = known.take().map_or_else(|| session.passphrase(path), Ok)?;
        known = Some(passphrase.clone());
        Ok::<_, Failure>(passphrase)
    })?;
    if let Some(lost_at) = arguments.lost_at.filter(|lost_at| *lost_at > jiff::Timestamp::now()) {
        return Err(Failure::new(2012, format!("--lost-at {lost_at} is in the future")));
    }
    start.lost_at_ms = arguments.lost_at.map(|time| u64::try_from(time.as_millisecond()).unwrap_or(0));
    if arguments.clock_offset_ms != 0 && !start.genesis.development() {
        return Err(Failure::new(5009, "--clock-offset-ms is for networks whose genesis says development"));
    }
    start.clock_offset_ms = arguments.clock_offset_ms;
    start_logs(&start.config, session.verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(runtime_threads())
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| Failure::new(5024, format!("the runtime cannot be started: {error}")))?;
    runtime.block_on(serve(start))?;
    Ok(Answer::default())
}

/// Execution, admission and signatures have threads of their own: what is left for the runtime, network and API, shares
/// the processors with them, and a second thread on a machine of two only takes turns with the first.
fn runtime_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| (processors.get() / 2).max(1))
}

async fn serve(start: Start) -> Result<(), Failure> {
    // Before anything is opened: the store, peers and listeners share them.
    let open_files = listener::raise_open_files();
    // This very node may run already: then its ports are taken too, and another port would be the wrong advice.
    Store::require_free(&start.config.data_directory)?;
    // A taken port is said before the store is touched.
    let ops_listener = listen(start.config.ops_listen).await?;
    let api_listener = listen(start.config.api_listen).await?;
    // The peers' own listener shares its port with whoever shares it too: two nodes of one user would both have it.
    drop(listen(start.config.peer_listen).await?);
    let mut node = node::start(start).await?;
    let connections = listener::connections(open_files);
    let mut listeners = JoinSet::new();
    listeners.spawn(ops::serve(ops_listener, Arc::clone(node.handle())));
    listeners.spawn(api::serve(api_listener, Arc::clone(node.handle()), connections));
    let outcome = tokio::select! {
        told = told_to_stop() => told,
        fault = node.failed() => Err(fault.into()),
        Some(_) = listeners.join_next() => Err(Failure::new(5024, "a listener ended unexpectedly")),
    };
    stop(node, listeners, outcome).await
}

/// Stops in good order whatever the reason; the first failure is the one that counts.
async fn stop(node: Node, mut listeners: JoinSet<()>, outcome: Result<(), Failure>) -> Result<(), Failure> {
    tracing::info!("stopping");
    listeners.shutdown().await;
    let stopped = node.stop().await;
    outcome?;
    Ok(stopped?)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| Failure::new(5007, format!("{address}: {error}")))
}

/// Resolves when the operator or the system asks the process to end.
async fn told_to_stop() -> Result<(), Failure> {
    let watch = |kind| signal(kind).map_err(|error| Failure::new(5024, format!("signals cannot be watched: {error}")));
    let (mut terminate, mut interrupt) = (watch(SignalKind::terminate())?, watch(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Logs go to stderr; the libraries below say only what is amiss.
fn start_logs(config: &Config, verbose: bool) {
    let level = match config.log_level {
        LogLevel::Error | LogLevel::Warn | LogLevel::Info if verbose => LevelFilter::DEBUG,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let filter = EnvFilter::new(format!("warn,mingzhang_node={level},mingzhang_consensus={level}"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Json => logs.json().init(),
        LogFormat::Text => logs.with_ansi(false).init(),
    }
}
