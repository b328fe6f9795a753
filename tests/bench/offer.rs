//! What is offered to which network: each rate to one of its own, founded for it, so that points can be compared; and once a
//! rate was too much, rates between it and the last that was not.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::network::{Network, Run, now_ms};
use crate::parts::{self, Parts};
use crate::report::{self, LATENCY_LIMIT_MS};

/// Offered rates of the curve, as shares of the signature bound.
const SHARES: [f64; 7] = [0.02, 0.05, 0.08, 0.10, 0.12, 0.16, 0.20];
/// How often what lies between the last rate that held and the first that did not is halved.
const HALVED: usize = 3;

/// Share of what is offered that becomes final meanwhile where a network keeps up: blocks begin and end anywhere.
const KEPT_UP: f64 = 0.95;

/// Where networks are founded for measuring, one after another.
pub struct Ground {
    pub binary: PathBuf,
    pub folder: PathBuf,
    /// How long a rate is offered.
    pub span: Duration,
    founded: AtomicU64,
}

/// Final within the wanted latency, nothing refused, and no backlog that only a longer offer would show.
pub fn holds(run: &Run) -> bool {
    run.p99_ms <= LATENCY_LIMIT_MS && run.refused == 0 && run.final_per_second >= run.offered * KEPT_UP
}

impl Ground {
    pub fn new(binary: PathBuf, folder: PathBuf, span: Duration) -> Self {
        Self { binary, folder, span, founded: AtomicU64::new(0) }
    }

    fn network(&self, parameters: &[&str]) -> Result<Network, String> {
        let number = self.founded.fetch_add(1, Ordering::Relaxed);
        Network::start(&self.binary, &self.folder.join(format!("devnet-{number}")), parameters)
    }

    /// Where the time of one node goes, so many times while its state grows. The network is there for its genesis and officers.
    pub async fn parts(&self, times: u64) -> Result<Vec<Parts>, String> {
        let network = self.network(&[])?;
        let (genesis, officers) = (network.genesis()?, Arc::clone(&network.officers));
        let folder = self.folder.join("parts");
        let measure =
            tokio::task::spawn_blocking(move || parts::measure(&folder, (&genesis, &officers), now_ms(), times));
        measure.await.map_err(|error| error.to_string())?
    }

    /// One rate, offered to a network of its own.
    pub async fn at(&self, rate: f64, parameters: &[&str]) -> Result<Run, String> {
        self.and(rate, parameters, async |_, _| Ok(())).await.map(|(run, ())| run)
    }

    /// The same, and something else that is asked of the network then.
    pub async fn and<T>(
        &self,
        rate: f64,
        parameters: &[&str],
        then: impl AsyncFnOnce(&Network, &reqwest::Client) -> Result<T, String>,
    ) -> Result<(Run, T), String> {
        let (network, client) = (self.network(parameters)?, client()?);
        network.prepare(&client).await?;
        let run = network.run(&client, rate, self.span).await?;
        eprintln!("{}", report::run_json(&run));
        Ok((run, then(&network, &client).await?))
    }

    /// The curve in the order of the rates: those that are given, or shares of the bound and then what lies between, up to the
    /// first that does not hold.
    pub async fn curve(&self, bound: f64, given: &[f64]) -> Result<Vec<Run>, String> {
        let shares: Vec<f64> = SHARES.iter().map(|share| (bound * share).round()).collect();
        let rates = if given.is_empty() { &shares[..] } else { given };
        let (mut curve, mut held, mut failed) = (Vec::new(), 0.0, None);
        for rate in rates {
            let run = self.at(*rate, &[]).await?;
            let fails = !holds(&run);
            curve.push(run);
            if fails {
                failed = Some(*rate);
                break;
            }
            held = *rate;
        }
        if let Some(mut failed) = failed.filter(|_| given.is_empty()) {
            for _ in 0..HALVED {
                let rate = f64::midpoint(held, failed).round();
                let run = self.at(rate, &[]).await?;
                *(if holds(&run) { &mut held } else { &mut failed }) = rate;
                curve.push(run);
            }
        }
        curve.sort_by(|one, other| one.offered.total_cmp(&other.offered));
        Ok(curve)
    }

    /// Twice the best rate of a curve, or the lowest where none held, and what is asked of the network then.
    pub async fn twice<T>(
        &self,
        curve: &[Run],
        then: impl AsyncFnOnce(&Network, &reqwest::Client) -> Result<T, String>,
    ) -> Result<(Run, T), String> {
        let best = curve.iter().rfind(|run| holds(run)).or(curve.first()).ok_or("no rate was offered")?;
        self.and(best.offered * 2.0, &[], then).await
    }
}

fn client() -> Result<reqwest::Client, String> {
    let tls = mingzhang_client::tls::settings(&[]).map_err(|failure| failure.detail)?;
    reqwest::Client::builder().tls_backend_preconfigured(tls).build().map_err(|error| error.to_string())
}
