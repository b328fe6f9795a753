//! The door of an HTTP listener: so many connections in all and from one reader, and so long for a request to arrive.
//! Without it, connections that say nothing would use up the process's open files, which the store and the peers need too.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;
use tower_http::timeout::TimeoutLayer;
use tower_service::Service as _;

/// Open files that the store, peers and everything else are left, whatever the listeners do.
const OTHER_FILES: u64 = 1_024;
/// Open files that are enough for every limit.
const WANTED_FILES: u64 = 8_192;
/// Connections of a listener at the same time, where the system grants enough open files; half of it for one reader,
/// unless the operator says otherwise.
const MAX_CONNECTIONS: usize = 1_024;
/// Fewer are never granted, for then nobody could be answered.
const MIN_CONNECTIONS: usize = 16;
/// How long the head of a request may take, or the pause before the next one.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long a request may take until its answer begins: the longest wait that may be asked for, and its body before it.
pub const REQUEST_TIME: Duration = Duration::from_secs(120);
/// The listener itself ends one later, so that what it serves can say so in its own words.
const LATEST: Duration = Duration::from_secs(130);
/// How long an answer may wait for a reader that takes nothing of it.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// Pause after a connection could not be taken in, mostly because the process has no open file left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Who counts as one reader: an IPv4 address, also where IPv6 carries it, or the 64 bits that one subscriber of IPv6 has.
pub fn reader(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// Asks the system for more open files, if its own limit for this process is higher, and says how many there are.
pub fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let (now, most) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let wanted = WANTED_FILES.min(most);
    if now >= wanted {
        return now;
    }
    limit.current = Some(wanted);
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, now, "the limit of open files stays as it is");
            now
        }
    }
}

/// How many connections a listener takes, by the open files of the process.
pub fn connections(open_files: u64) -> usize {
    let left = usize::try_from(open_files.saturating_sub(OTHER_FILES) / 2).unwrap_or(usize::MAX);
    left.clamp(MIN_CONNECTIONS, MAX_CONNECTIONS)
}

/// Connections of a listener, and those of one reader among them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub all: usize,
    pub of_one: usize,
    /// How long an answer waits for a reader that takes nothing of it.
    patience: Duration,
}

impl Limits {
    /// Half of all places at most are one reader's.
    pub fn of(all: usize) -> Self {
        Self { all, of_one: all.div_ceil(2), patience: WRITE_TIME }
    }

    /// Where the operator knows that many readers come by one address; 0 leaves it.
    #[must_use]
    pub fn with_of_one(self, of_one: usize) -> Self {
        if of_one == 0 { self } else { Self { of_one, ..self } }
    }
}

/// Connections that are open now, by reader.
#[derive(Debug)]
struct Door {
    limits: Limits,
    open: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A place inside the door, given back when it is dropped.
#[derive(Debug)]
struct Place {
    door: Arc<Door>,
    reader: IpAddr,
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let reader = reader(address);
        let mut open = self.lock();
        let (all, own) = (open.values().sum::<usize>(), open.get(&reader).copied().unwrap_or(0));
        if all >= self.limits.all || own >= self.limits.of_one {
            return None;
        }
        open.insert(reader, own.saturating_add(1));
        Some(Place { door: Arc::clone(self), reader })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.door.lock();
        match open.get_mut(&self.reader) {
            Some(own) if *own > 1 => *own = own.saturating_sub(1),
            _ => {
                open.remove(&self.reader);
            }
        }
    }
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits) {
    let door = Arc::new(Door { limits, open: Mutex::default() });
    let router = router.layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, LATEST));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken in");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match door.enter(address.ip()) {
            Some(place) => drop(tokio::spawn(converse((stream, address), router.clone(), place))),
            // Closed at once: to answer would need the place that is not there.
            None => tracing::debug!(%address, "too many connections"),
        }
    }
}

async fn converse((stream, address): (TcpStream, SocketAddr), router: Router, place: Place) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::trace!(%address, %error, "small answers may wait");
    }
    let service = service_fn(move |request: Request<Incoming>| answer(router.clone(), address, request));
    let outcome = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(Patient::new(stream, place.door.limits.patience)), service)
        .await;
    if let Err(error) = outcome {
        tracing::debug!(%address, %error, "a connection ended");
    }
}

/// A connection that ends when its reader takes nothing of what is written, for so long: who asks and never reads would
/// otherwise hold a place, and the answers in memory, for ever.
#[derive(Debug)]
struct Patient {
    stream: TcpStream,
    patience: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, stalled: None }
    }

    fn judge<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

async fn answer(
    mut router: Router,
    address: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(ConnectInfo(address));
    router.call(request.map(Body::new)).await
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn a_subscriber_is_one_reader_whatever_address_he_takes() {
        let of = |text: &str| reader(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:1:2:3"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
    }

    #[test]
    fn one_reader_has_half_of_the_places_and_gives_them_back() {
        let door = Arc::new(Door { limits: Limits::of(4), open: Mutex::default() });
        let [one, other, third] = [1, 2, 3].map(|last| IpAddr::from([127, 0, 0, last]));
        let held = [door.enter(one), door.enter(one)].map(|place| place.expect("room"));
        assert!(door.enter(one).is_none(), "half is taken");
        let others = [door.enter(other), door.enter(other)].map(|place| place.expect("room"));
        assert!(door.enter(third).is_none(), "all is taken");
        drop(held);
        assert!(door.enter(third).is_some());
        drop(others);
        assert!(door.lock().is_empty());
    }

    #[test]
    fn an_address_that_many_readers_come_by_has_as_many_places_as_the_operator_says() {
        let places = |of_one| {
            let limits = Limits::of(4).with_of_one(of_one);
            let door = Arc::new(Door { limits, open: Mutex::default() });
            std::iter::from_fn(|| door.enter(IpAddr::from([192, 0, 2, 1]))).collect::<Vec<_>>().len()
        };
        assert_eq!([0, 1, 3, 4, 9].map(places), [2, 1, 3, 4, 4]);
    }

    #[test]
    fn connections_leave_open_files_for_the_store_and_the_peers() {
        assert_eq!(connections(8_192), MAX_CONNECTIONS);
        assert_eq!(connections(2_048), 512);
        assert_eq!(connections(256), MIN_CONNECTIONS);
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut reader = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connects");
        let (stream, _) = listener.accept().await.expect("accepts");
        let mut writer = Patient::new(stream, Duration::from_millis(200));
        let some = vec![7; 1 << 20];
        writer.write_all(&some[..1_000]).await.expect("fits the system's buffers");
        let fault = async {
            loop {
                if let Err(fault) = writer.write_all(&some).await {
                    return fault;
                }
            }
        };
        let fault = tokio::time::timeout(Duration::from_secs(60), fault).await.expect("it ends");
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
        assert_eq!(reader.read_u8().await.expect("what was sent is there"), 7);
    }

    #[tokio::test]
    async fn a_stream_waits_for_its_reader_and_ends_with_one_that_takes_nothing() {
        const PART: usize = 1 << 16;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let parts = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (made, held) = (Arc::clone(&parts), Arc::downgrade(&parts));
        let endless = get(move || {
            let made = Arc::clone(&made);
            async move {
                Body::from_stream(futures::stream::repeat_with(move || {
                    made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    Ok::<_, Infallible>(vec![7; PART])
                }))
            }
        });
        let limits = Limits { patience: Duration::from_millis(300), ..Limits::of(4) };
        tokio::spawn(serve(listener, Router::new().route("/", endless), limits));
        let idle = held.strong_count();
        let mut reader = TcpStream::connect(address).await.expect("connects");
        reader.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("asked");
        assert_eq!(reader.read_u8().await.expect("it begins"), b'H');
        let given_up = async {
            while held.strong_count() > idle {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), given_up).await.expect("given up");
        let made = parts.load(std::sync::atomic::Ordering::Relaxed);
        assert!(made * PART < 64 << 20, "no more is made than the system takes: {made} parts");
    }

    #[tokio::test]
    async fn silent_connections_keep_nobody_else_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let router = Router::new()
            .route("/", get(|ConnectInfo(from): ConnectInfo<SocketAddr>| async move { from.ip().to_string() }));
        tokio::spawn(serve(listener, router, Limits::of(4)));
        let mut silent = Vec::new();
        for _ in 0..8 {
            silent.push(TcpStream::connect(address).await.expect("connects"));
        }
        // Of eight from one address two are in: the others are closed without an answer.
        let mut closed = 0;
        for stream in &mut silent {
            let read = tokio::time::timeout(Duration::from_millis(300), stream.read_u8()).await;
            closed += usize::from(read.is_ok_and(|read| read.is_err()));
        }
        assert_eq!(closed, 6);
        drop(silent);
        let told = loop {
            let mut stream = TcpStream::connect(address).await.expect("connects");
            let mut told = String::new();
            let ask = async {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
                stream.read_to_string(&mut told).await
            };
            if ask.await.is_ok() && !told.is_empty() {
                break told;
            }
        };
        assert!(told.starts_with("HTTP/1.1 200") && told.ends_with("127.0.0.1"), "{told}");
    }
}
