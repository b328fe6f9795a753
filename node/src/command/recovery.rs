//! `recovery …`: the steps after more than a third of the members were lost for good, each with the node stopped. What they
//! do is in the recovery module; here are files, flags and answers.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use mingzhang_genesis::Genesis;
use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::certificate::{KeyRole, possess_bytes};
use mingzhang_ledger::recovery::{EndedEpoch, MAX_MANIFEST_BYTES, RecoveryManifest, SignedManifest};
use mingzhang_ledger::seal::prove_possession;
use serde_json::{Value, json};

use super::answer::{Answer, Failure, Words};
use super::authority::next_key;
use super::genesis::Openers;
use super::session::Session;
use crate::clock::Clock;
use crate::config::Config;
use crate::executor::Executor;
use crate::keys::Purpose;
use crate::recovery::{self, Chosen, Dump, Fault, MAX_DUMP_BYTES, SeatFile};
use crate::store::Store;
use crate::{node, setup};

/// Largest seat file that is read.
const MAX_SEAT_BYTES: usize = 64 * 1024;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// What this stopped node holds, for whoever drafts the manifest 转储
    Dump {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// This node's keys for the next epoch, with proofs 下一届席位
    Seat {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The epoch that the manifest opens; a survivor knows it 将要开启的届次
        #[arg(long)]
        epoch: Option<u64>,
        /// Address of the public interface; a survivor's is known 公开接口网址
        #[arg(long)]
        url: Option<String>,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Choose the base from all survivors' dumps and write the manifest 起草恢复文书
    Draft {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// A survivor's dump (repeat, one of each) 各幸存节点的转储
        #[arg(long = "dump", value_name = "FILE", required = true)]
        dumps: Vec<PathBuf>,
        /// A member of the new set, in turn order (repeat) 新成员席位,按轮次排列
        #[arg(long = "seat", value_name = "FILE", required = true)]
        seats: Vec<PathBuf>,
        /// Why; every auditor reads it 理由
        #[arg(long)]
        reason: String,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign the manifest with a recovery key of the genesis 用恢复密钥签署
    Sign {
        manifest: PathBuf,
        #[arg(long, value_name = "FILE")]
        genesis: PathBuf,
        /// Key file (repeat) 密钥文件
        #[arg(long = "key", value_name = "FILE")]
        keys: Vec<PathBuf>,
        /// Copies that others signed; their signatures are taken over (repeat) 他人已签署的副本
        #[arg(long = "with", value_name = "FILE")]
        copies: Vec<PathBuf>,
    },
    /// Whether this stopped node may apply it; changes nothing 核对
    Check {
        manifest: PathBuf,
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// End this stopped node's epoch with it 应用恢复文书
    Apply {
        manifest: PathBuf,
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Dumps that hold the blocks up to the base (repeat) 含基点区块的转储
        #[arg(long = "dump", value_name = "FILE")]
        dumps: Vec<PathBuf>,
    },
}

impl Command {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dump { .. } => "recovery dump",
            Self::Seat { .. } => "recovery seat",
            Self::Draft { .. } => "recovery draft",
            Self::Sign { .. } => "recovery sign",
            Self::Check { .. } => "recovery check",
            Self::Apply { .. } => "recovery apply",
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { code: fault.code(), detail: fault.to_string() }
    }
}

pub fn run(session: &Session, command: Command) -> Result<Answer, Failure> {
    match command {
        Command::Dump { config, out } => dump(&config, &out),
        Command::Seat { config, epoch, url, out } => seat(session, &config, (epoch, url), &out),
        Command::Draft { config, dumps, seats, reason, out } => draft(&config, (&dumps, &seats), reason, &out),
        Command::Sign { manifest, genesis, keys, copies } => sign(session, &manifest, &genesis, (&keys, &copies)),
        Command::Check { manifest, config } => check(&manifest, &config),
        Command::Apply { manifest, config, dumps } => apply(&manifest, &config, &dumps),
    }
}

/// A stopped node: its files, open.
struct Stopped {
    config: Config,
    genesis: Genesis,
    store: std::sync::Arc<Store>,
}

impl Stopped {
    fn open(config: &Path) -> Result<Self, Failure> {
        let config = Config::read(config)?;
        let genesis = setup::read_genesis(&config.genesis_file)?;
        if !config.data_directory.is_dir() {
            return Err(Failure::new(5001, format!("{} holds no data", config.data_directory.display())));
        }
        let store = std::sync::Arc::new(node::open_store(&config.data_directory, &genesis)?);
        Ok(Self { config, genesis, store })
    }

    fn executor(&self) -> Executor {
        Executor::new(std::sync::Arc::clone(&self.store), self.genesis.founding.network.clone())
    }

    /// Leaves the data as it was found: an unclean stop is still one for the node that starts next.
    fn leave(self) -> Result<(), Failure> {
        if self.store.recovery().is_unclean() {
            self.store.sync()?;
        } else {
            self.store.close()?;
        }
        Ok(())
    }
}

fn dump(config: &Path, out: &Path) -> Result<Answer, Failure> {
    let stopped = Stopped::open(config)?;
    let dump = Dump::of(&stopped.store, &stopped.executor(), &stopped.config.agency)?;
    let tip = stopped.store.tip();
    stopped.leave()?;
    let text = serde_json::to_string(&dump).map_err(|error| Failure::not_written(out, error))?;
    std::fs::write(out, text).map_err(|error| Failure::not_written(out, error))?;
    let (certified, blocks) = dump.counts();
    let data = json!({ "file": out, "agency_id": dump.agency, "epoch": dump.epoch, "final_height": tip.height,
                       "certified": certified, "blocks": blocks });
    let text = Words::new(
        format!("{} 已写入: 已最终确认至高度 {},其上 {certified} 份认证、{blocks} 个区块", out.display(), tip.height),
        format!(
            "{} written: final up to height {}, {certified} certificates and {blocks} blocks above",
            out.display(),
            tip.height
        ),
    );
    Ok(Answer { data, text, ..Answer::default() })
}

fn seat(
    session: &Session,
    config: &Path,
    (epoch, url): (Option<u64>, Option<String>),
    out: &Path,
) -> Result<Answer, Failure> {
    let path = config;
    let config = Config::read(path)?;
    let genesis = setup::read_genesis(&config.genesis_file)?;
    let known = if config.data_directory.is_dir() { known_seat(path)? } else { None };
    let (next, own_url) = known.map_or((None, None), |(next, url)| (Some(next), url));
    let epoch = epoch.or(next).ok_or_else(|| Failure::usage("--epoch: a new node does not know which one follows"))?;
    let url = url.or(own_url).ok_or_else(|| Failure::usage("--url: this agency has no seat whose address is known"))?;
    let mut openers = Openers::new(session);
    let mut proven = |purpose: Purpose, role: KeyRole| {
        let key = openers.open(&purpose.file(&config.keys_directory), genesis.test_keys())?;
        let proof = key.sign(&possess_bytes(&genesis.hash, &config.agency, role, &key.public()));
        Ok::<_, Failure>((hex::encode(key.public().0), hex::encode(proof.0)))
    };
    let (consensus_key, consensus_proof) = proven(Purpose::Consensus, KeyRole::Consensus)?;
    let (peer_key, peer_proof) = proven(Purpose::Peer, KeyRole::Peer)?;
    let sealing = next_key(session, &config, &genesis, epoch)?;
    let time_s = Clock::default().now_ms() / 1_000;
    let seat = SeatFile {
        agency_id: config.agency.clone(),
        url,
        epoch,
        consensus_key,
        consensus_proof,
        peer_key,
        peer_proof,
        sealing_key: hex::encode(sealing.public().0),
        sealing_proof: hex::encode(prove_possession(&genesis.origin, time_s, &sealing)),
    };
    let json = serde_json::to_string_pretty(&seat).map_err(|error| Failure::not_written(out, error))?;
    std::fs::write(out, json).map_err(|error| Failure::not_written(out, error))?;
    let text = Words::new(
        format!("{} 已写入(第 {epoch} 届)", out.display()),
        format!("{} written for epoch {epoch}", out.display()),
    );
    Ok(Answer { data: json!({ "file": out, "epoch": epoch, "seat": seat }), text, ..Answer::default() })
}

/// The epoch that follows, and the address of the agency's seat, as a survivor's data says; none for a new node.
fn known_seat(config: &Path) -> Result<Option<(u64, Option<String>)>, Failure> {
    let stopped = Stopped::open(config)?;
    let (tip, set) = (stopped.store.tip(), stopped.store.set());
    let mut own = set.members.iter().filter(|member| member.agency == stopped.config.agency);
    let url = own.next().map(|member| member.url.clone());
    stopped.leave()?;
    Ok((tip.height > 0).then_some((tip.epoch.saturating_add(1), url)))
}

fn draft(
    config: &Path,
    (dumps, seats): (&[PathBuf], &[PathBuf]),
    reason: String,
    out: &Path,
) -> Result<Answer, Failure> {
    let stopped = Stopped::open(config)?;
    let epoch = stopped.store.epoch().map_err(Fault::from)?;
    let chosen = recovery::choose_base(&read_dumps(dumps)?, &epoch)?;
    let mut members = Vec::new();
    for path in seats {
        let bytes = setup::read_limited(path, MAX_SEAT_BYTES)?;
        let seat: SeatFile = serde_json::from_slice(&bytes)
            .map_err(|error| Failure::new(5029, format!("{}: {error}", path.display())))?;
        if seat.epoch != epoch.number().saturating_add(1) {
            let detail =
                format!("{} is for epoch {}, epoch {} follows", path.display(), seat.epoch, epoch.number() + 1);
            return Err(Failure::new(5029, detail));
        }
        members.push(recovery::member_of(&seat, &stopped.genesis)?);
    }
    recovery::require_new_seats(&members, &stopped.store)?;
    let set =
        AuthoritySet { epoch: epoch.number().saturating_add(1), parameters: epoch.set.parameters.clone(), members };
    let manifest = RecoveryManifest { chain: stopped.genesis.hash, base: chosen.header, set, reason };
    let keys = stopped.genesis.recovery_keys();
    let ended = EndedEpoch { set: &epoch.set, opened_by: &epoch.opening_block() };
    manifest.check(&keys, &stopped.genesis.hash, &ended).map_err(Fault::from)?;
    let signed = SignedManifest::new(manifest);
    write(out, &signed)?;
    let mut answer = told(&signed, &stopped.genesis);
    answer.data["file"] = json!(out);
    answer.data["certified_turn"] = json!(chosen.turn);
    answer.data["base_held_by"] = json!(chosen.agencies);
    answer.warnings = warnings(&chosen);
    stopped.leave()?;
    Ok(answer)
}

fn warnings(chosen: &Chosen) -> Vec<Words> {
    let mut warnings = Vec::new();
    if !chosen.behind.is_empty() {
        let agencies = chosen.behind.join(", ");
        warnings.push(Words::new(
            format!("{agencies} 的转储属于更早的届次,未计入;其节点将从其他节点取得后续区块"),
            format!("the dumps of {agencies} are of an earlier epoch and do not count; their nodes will catch up"),
        ));
    }
    if !chosen.given_up.is_empty() {
        let turns: Vec<String> = chosen.given_up.iter().map(u64::to_string).collect();
        let turns = turns.join(", ");
        warnings.push(Words::new(
            format!("第 {turns} 轮另有认证,但所给转储均无其区块;如还有幸存节点,请补其转储"),
            format!("turns {turns} are certified too, but no dump holds their blocks; add the dump of every survivor"),
        ));
    }
    warnings
}

fn sign(
    session: &Session,
    path: &Path,
    genesis: &Path,
    (key_files, copies): (&[PathBuf], &[PathBuf]),
) -> Result<Answer, Failure> {
    let genesis = setup::read_genesis(genesis)?;
    let keys = genesis.recovery_keys();
    let mut signed = read(path)?;
    if signed.manifest().chain != genesis.hash {
        return Err(Failure::new(5029, format!("{} is of another network", path.display())));
    }
    for copy in copies {
        if !signed.merge(&read(copy)?) {
            return Err(Failure::new(5029, format!("{} is another manifest than {}", copy.display(), path.display())));
        }
    }
    let mut openers = Openers::new(session);
    for file in key_files {
        let key = openers.open(file, genesis.test_keys())?;
        if signed.sign(&keys, &key).is_none() {
            return Err(Failure::new(5005, format!("{} is no recovery key of this genesis", file.display())));
        }
    }
    write(path, &signed)?;
    let mut answer = told(&signed, &genesis);
    answer.data["file"] = json!(path);
    Ok(answer)
}

fn check(path: &Path, config: &Path) -> Result<Answer, Failure> {
    let stopped = Stopped::open(config)?;
    let signed = read(path)?;
    let verdict = recovery::verify(&signed, &stopped.genesis.recovery_keys(), &stopped.store);
    let mut answer = told(&signed, &stopped.genesis);
    answer.failure = verdict.err().map(Failure::from);
    stopped.leave()?;
    Ok(answer)
}

fn apply(path: &Path, config: &Path, dumps: &[PathBuf]) -> Result<Answer, Failure> {
    let stopped = Stopped::open(config)?;
    let signed = read(path)?;
    let mut answer = told(&signed, &stopped.genesis);
    let applied = stopped.store.recovery_of(signed.manifest().set.epoch)?;
    if applied.as_deref() != Some(&signed.encode()[..]) {
        let recovered = recovery::verify(&signed, &stopped.genesis.recovery_keys(), &stopped.store)?;
        recovery::apply(recovered, &read_dumps(dumps)?, &stopped.store, &stopped.executor())?;
    }
    let tip = stopped.store.tip();
    answer.data["height"] = json!(tip.height);
    answer.text.zh += &format!("\n本节点已进入第 {} 届,高度 {};可以启动", tip.epoch, tip.height);
    answer.text.en += &format!("\nthis node is in epoch {} at height {} and may be started", tip.epoch, tip.height);
    stopped.leave()?;
    Ok(answer)
}

fn read(path: &Path) -> Result<SignedManifest, Failure> {
    let bytes = setup::read_limited(path, MAX_MANIFEST_BYTES)?;
    SignedManifest::decode(&bytes).map_err(|fault| Failure::new(5029, format!("{}: {fault}", path.display())))
}

fn write(path: &Path, signed: &SignedManifest) -> Result<(), Failure> {
    std::fs::write(path, signed.encode()).map_err(|error| Failure::not_written(path, error))
}

fn read_dumps(paths: &[PathBuf]) -> Result<Vec<Dump>, Failure> {
    let one = |path: &PathBuf| {
        let bytes = setup::read_limited(path, MAX_DUMP_BYTES)?;
        serde_json::from_slice(&bytes).map_err(|error| Failure::new(5029, format!("{}: {error}", path.display())))
    };
    paths.iter().map(one).collect()
}

/// What a manifest says, for whoever is to sign or apply it.
fn told(signed: &SignedManifest, genesis: &Genesis) -> Answer {
    let (manifest, keys) = (signed.manifest(), genesis.recovery_keys());
    let (base, set) = (&manifest.base, &manifest.set);
    let signers: Vec<u16> = signed.signers().collect();
    let names: Vec<&str> = set.members.iter().map(|member| member.agency.as_str()).collect();
    let holders: Vec<Value> = genesis.document.recovery.keys.iter().map(|held| json!(held.agency)).collect();
    let hash = hex::encode(manifest.hash());
    let data = json!({
        "manifest_hash": format!("sha256:{hash}"), "epoch": set.epoch, "base_height": base.height,
        "base": format!("sha256:{}", hex::encode(base.id())), "tree_size": base.tree_size(), "members": names,
        "quorum": set.quorum(), "tolerates": set.tolerated_faults(), "reason": manifest.reason,
        "signed_by": signers, "threshold": keys.threshold, "holders": holders,
    });
    let (members, signed, needed) = (names.join(", "), signers.len(), keys.threshold);
    let (epoch, height, quorum, reason) = (set.epoch, base.height, set.quorum(), &manifest.reason);
    let text = Words::new(
        format!(
            "恢复文书 sha256:{hash}\n自高度 {height} 之后起第 {epoch} 届\n成员 {members}(法定数 {quorum})\n理由 {reason}\n已签 {signed},需要 {needed}"
        ),
        format!(
            "recovery manifest sha256:{hash}\nepoch {epoch} from height {height} on\nmembers {members} (quorum {quorum})\n\
             reason {reason}\nsigned {signed}, needed {needed}"
        ),
    );
    Answer { data, text, ..Answer::default() }
}
