//! One fault after the other under load: what is done, what must go on meanwhile, how it is healed, and how long whoever was
//! hurt needs to be where the others are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::fire::Fire;
use super::fleet::Fleet;
use super::kind::Kind;
use super::slow::{SlowDisk, Slowed};
use super::wires::Pair;
use crate::load::Dice;
use crate::small_disk::{copy_files, move_to_small_disk};
use crate::world::{Seat, until};

/// Answers that must come while a fault lasts, and after it.
const ANSWERS: usize = 10;
/// Longest wait for one answer while there is a quorum, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
const CLOCK_OFFSET_MS: i64 = 3_000;
const DELAY_MS: u64 = 100;
const JITTER_MS: usize = 50;
const LOSS_PER_MILLE: usize = 30;
/// How often connections are torn in a round.
const TEARS: usize = 4;
/// No turn of a connected agency ends by time-out sooner: a quarter of 1.7 s. What is shorter was passed.
const SHORTEST_TIMEOUT_MS: u64 = 425;
/// Nodes through which a flood of documents enters while others are slow, and how often at each.
const FLOODED: usize = 2;
const FLOODS: usize = 8;
/// Longest time without a word that shows a network without a quorum to be still.
const STILL_S: u64 = 3;

/// What the rounds found.
#[derive(Debug, Default)]
pub struct Found {
    pub faults: BTreeMap<&'static str, u64>,
    /// Kinds that this machine does not allow, and why.
    pub not_possible: BTreeMap<&'static str, &'static str>,
    /// The longest time until the hurt node was where the others had been, by kind, in milliseconds.
    pub catch_up_ms: BTreeMap<&'static str, u64>,
    /// The most blocks that a hurt node was behind when it was healed.
    pub behind: BTreeMap<&'static str, u64>,
    /// What nodes said of themselves or each other.
    pub said: BTreeMap<&'static str, String>,
}

pub struct Rounds<'a> {
    pub fleet: Fleet<'a>,
    pub fire: &'a Fire<'a>,
    pub progress: Receiver<()>,
    pub dice: Dice,
    pub found: Found,
}

impl Rounds<'_> {
    /// Answers of the load from now on.
    pub fn go_on(&self, what: &str) {
        while self.progress.try_recv().is_ok() {}
        for _ in 0..ANSWERS {
            let answer = self.progress.recv_timeout(PATIENCE);
            assert!(answer.is_ok(), "{what}: the network has a quorum and answers nothing, or a submitter failed");
        }
    }

    /// One fault from its beginning to its end.
    pub fn meet(&mut self, kind: Kind) {
        let mut places: Vec<usize> = (0..self.fleet.len()).collect();
        self.dice.shuffle(&mut places);
        let hurt = 1 + self.dice.below(self.fleet.tolerates());
        let (victims, others) = places.split_at(hurt);
        let names: Vec<&str> = victims.iter().map(|node| self.fleet.seat(*node).agency.as_str()).collect();
        println!("  {}: {}", kind.name(), names.join(", "));
        let possible = match kind {
            Kind::Kill => self.kill(victims),
            Kind::Freeze => self.freeze(victims),
            Kind::Slowed => self.slowed(victims, others),
            Kind::SlowDisk => self.slow_disk(victims[0]),
            Kind::FullDisk => self.full_disk(victims[0]),
            Kind::ClockBehind => self.clock_behind(victims[0]),
            Kind::ClockAhead => self.clock_ahead(victims[0], others[0]),
            Kind::Partition => self.cut(victims, others, [true, true], kind),
            Kind::OneWay => self.cut(victims, others, [true, false], kind),
            Kind::Split => self.split(&places),
            Kind::Delay | Kind::Loss => self.weather(kind),
            Kind::Torn => self.torn(victims),
        };
        match possible {
            Ok(()) => *self.found.faults.entry(kind.name()).or_default() += 1,
            Err(why) => {
                println!("    not possible here: {why}");
                self.found.not_possible.insert(kind.name(), why);
            }
        }
        self.go_on("after the fault");
    }

    /// Whoever was hurt gets to where the others are now, while they go on.
    fn catch_up(&mut self, victims: &[usize], kind: Kind) {
        let (tip, began) = (self.fleet.tip(victims), Instant::now());
        let stood = victims.iter().filter_map(|node| self.fleet.height(*node)).min();
        for node in victims {
            until(&format!("{} at height {tip}", self.fleet.seat(*node).agency), || {
                (self.fleet.height(*node)? >= tip).then_some(())
            });
        }
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let worst = self.found.catch_up_ms.entry(kind.name()).or_default();
        *worst = took_ms.max(*worst);
        let behind = self.found.behind.entry(kind.name()).or_default();
        *behind = stood.map_or(0, |stood| tip.saturating_sub(stood)).max(*behind);
    }

    fn kill(&mut self, victims: &[usize]) -> Result<(), &'static str> {
        victims.iter().for_each(|node| self.fleet.kill(*node));
        self.go_on("with nodes killed");
        victims.iter().for_each(|node| self.fleet.start(*node, &[]));
        victims.iter().for_each(|node| self.fleet.wait_ready(*node));
        self.catch_up(victims, Kind::Kill);
        Ok(())
    }

    fn freeze(&mut self, victims: &[usize]) -> Result<(), &'static str> {
        victims.iter().for_each(|node| self.fleet.signal(*node, Signal::STOP));
        self.go_on("with nodes that stand still");
        victims.iter().for_each(|node| self.fleet.signal(*node, Signal::CONT));
        self.catch_up(victims, Kind::Freeze);
        Ok(())
    }

    /// While there is more to do than a slow node can, it falls behind; afterwards it catches up, under load.
    fn slowed(&mut self, victims: &[usize], others: &[usize]) -> Result<(), &'static str> {
        let slowed: Vec<Slowed> = victims.iter().map(|node| Slowed::begin(self.fleet.running(*node).id())).collect();
        self.go_on("with slow nodes");
        let seats: Vec<&Seat> = others.iter().take(FLOODED).map(|node| self.fleet.seat(*node)).collect();
        let (fire, fleet, ends) = (self.fire, &self.fleet, AtomicBool::new(false));
        let behind = std::thread::scope(|scope| {
            let watch = scope.spawn(|| most_behind(fleet, victims, others, &ends));
            fire.flood(&seats, FLOODS);
            ends.store(true, Ordering::Relaxed);
            watch.join().expect("the watch only asks for heights")
        });
        drop(slowed);
        let most = self.found.behind.entry(Kind::Slowed.name()).or_default();
        *most = behind.max(*most);
        self.catch_up(victims, Kind::Slowed);
        Ok(())
    }

    fn slow_disk(&mut self, victim: usize) -> Result<(), &'static str> {
        let slow = SlowDisk::begin(self.fleet.running(victim).id(), &self.fleet.data(victim))
            .ok_or("no control group of the first version that limits writes")?;
        self.go_on("with a slow disk");
        let writes = slow.writes();
        assert!(writes > 0, "no write was made under the limit, so nothing was shown");
        drop(slow);
        self.found.said.insert("writes under the limit of a slow disk", writes.to_string());
        self.catch_up(&[victim], Kind::SlowDisk);
        Ok(())
    }

    /// The node moves to a small disk, which fills up; it stops by itself and says why, comes back once there is room, and
    /// moves back.
    fn full_disk(&mut self, victim: usize) -> Result<(), &'static str> {
        let data = self.fleet.data(victim);
        let kept = data.with_file_name("kept");
        self.fleet.kill(victim);
        let Some(disk) = move_to_small_disk(&data, &kept) else {
            self.fleet.start(victim, &[]);
            return Err("this user may not mount a file system");
        };
        self.fleet.start(victim, &[]);
        self.fleet.wait_ready(victim);
        let before = self.fleet.log(victim).len();
        disk.fill_up();
        self.fleet.wait_ended(victim);
        let log = self.fleet.log(victim);
        let sentence = log[before..].lines().find_map(|line| line.find("MZ-5002").map(|at| &line[at..]));
        let sentence = sentence.expect("it says why").replace(&data.display().to_string(), "its data");
        self.found.said.insert("the node with a full disk", sentence);
        assert!(!log[before..].contains("panicked"), "{log}");
        self.go_on("with a full disk");
        disk.make_room();
        self.fleet.start(victim, &[]);
        self.fleet.wait_ready(victim);
        self.catch_up(&[victim], Kind::FullDisk);
        self.fleet.kill(victim);
        std::fs::remove_dir_all(&kept).expect("the old data is removed");
        std::fs::create_dir(&kept).expect("made");
        copy_files(&data, &kept);
        drop(disk);
        std::fs::remove_dir_all(&data).expect("the folder of the small disk is removed");
        std::fs::rename(&kept, &data).expect("the data is put back");
        self.fleet.start(victim, &[]);
        self.fleet.wait_ready(victim);
        Ok(())
    }

    fn restart_with_clock(&mut self, victim: usize, offset_ms: i64) {
        self.fleet.kill(victim);
        self.fleet.start(victim, &[&format!("--clock-offset-ms={offset_ms}")]);
    }

    /// It names itself, and passes its turns at once instead of letting the others wait.
    fn clock_behind(&mut self, victim: usize) -> Result<(), &'static str> {
        self.restart_with_clock(victim, -CLOCK_OFFSET_MS);
        let said = self.fleet.wait_alarm(victim, &["this node's clock is behind", "turns are passed"]);
        self.found.said.insert("the node whose clock is behind", said);
        let from = self.fleet.tip(&[victim]);
        let gap_ms = until("a turn that was passed, not timed out", || self.shortest_pass_ms(victim, from));
        self.found.said.insert("a turn that it passed cost, ms", gap_ms.to_string());
        self.go_on("with a clock behind");
        self.fleet.kill(victim);
        self.fleet.start(victim, &[]);
        self.fleet.wait_ready(victim);
        self.catch_up(&[victim], Kind::ClockBehind);
        Ok(())
    }

    /// The shortest time between two blocks above a height with only this node's turn between them.
    fn shortest_pass_ms(&self, victim: usize, from: u64) -> Option<u64> {
        let other = (victim + 1) % self.fleet.len();
        let tip = self.fleet.height(other)?;
        let blocks = (from..=tip).filter_map(|height| {
            let (_, block) = self.fleet.world.get(self.fleet.seat(other), &format!("/blocks/{height}"))?;
            Some((block["parent_turn"].as_u64()?, block["turn"].as_u64()?, time_of_day_ms(block["time"].as_str()?)?))
        });
        let blocks: Vec<(u64, u64, u64)> = blocks.collect();
        let members = self.fleet.len() as u64;
        let gaps = blocks.windows(2).filter_map(|pair| {
            let ((_, _, before_ms), (parent_turn, turn, time_ms)) = (pair[0], pair[1]);
            let its_turn = turn == parent_turn + 2 && parent_turn % members == victim as u64;
            its_turn.then(|| time_ms.saturating_sub(before_ms))
        });
        gaps.min().filter(|gap_ms| *gap_ms < SHORTEST_TIMEOUT_MS)
    }

    /// The others name it, and give up its turns.
    fn clock_ahead(&mut self, victim: usize, witness: usize) -> Result<(), &'static str> {
        self.restart_with_clock(victim, CLOCK_OFFSET_MS);
        let agency = self.fleet.seat(victim).agency.clone();
        let said = self.fleet.wait_alarm(witness, &[&format!("a proposal of {agency} lay"), "in this node's future"]);
        self.found.said.insert("a node beside one whose clock is ahead", said);
        self.go_on("with a clock ahead");
        self.fleet.kill(victim);
        self.fleet.start(victim, &[]);
        self.fleet.wait_ready(victim);
        self.catch_up(&[victim], Kind::ClockAhead);
        Ok(())
    }

    /// Cuts what the victims send to the others, what the others send to them, or both.
    fn cut(
        &mut self,
        victims: &[usize],
        others: &[usize],
        [theirs, to_them]: [bool; 2],
        kind: Kind,
    ) -> Result<(), &'static str> {
        for (victim, other) in victims.iter().flat_map(|victim| others.iter().map(move |other| (*victim, *other))) {
            let (pair, lower) = pair(victim, other);
            let cut = if victim == lower { [theirs, to_them] } else { [to_them, theirs] };
            self.fleet.wires.set(pair, |weather| weather.cut = cut);
        }
        self.go_on("with nodes cut off");
        self.go_on("with nodes cut off");
        self.fleet.wires.heal();
        self.catch_up(victims, kind);
        Ok(())
    }

    /// Nothing becomes final, nothing that was final is lost, and all goes on once the halves meet.
    fn split(&mut self, places: &[usize]) -> Result<(), &'static str> {
        let (left, right) = places.split_at(self.fleet.len() / 2);
        for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))) {
            self.fleet.wires.set(pair(a, b).0, |weather| weather.cut = [true, true]);
        }
        let nobody = "0".repeat(64);
        let still = |fleet: &Fleet<'_>| {
            let path = format!("/transactions/{nobody}/status?wait={STILL_S}");
            fleet.world.get(fleet.seat(0), &path).expect("the node answers");
            (0..fleet.len()).map(|node| fleet.height(node).expect("it answers")).collect::<Vec<_>>()
        };
        // What was under way when the halves parted may still become final in one of them.
        let (first, second) = (still(&self.fleet), still(&self.fleet));
        assert_eq!(first, second, "blocks became final without a quorum");
        self.fleet.wires.heal();
        let everybody: Vec<usize> = (0..self.fleet.len()).collect();
        self.go_on("once the halves have met");
        self.settle(&everybody, Kind::Split);
        Ok(())
    }

    fn weather(&mut self, kind: Kind) -> Result<(), &'static str> {
        let pairs: Vec<Pair> = self.fleet.wires.pairs().collect();
        for pair in pairs {
            self.fleet.wires.set(pair, |weather| match kind {
                Kind::Loss => weather.loss_per_mille = LOSS_PER_MILLE,
                _ => (weather.delay_ms, weather.jitter_ms) = (DELAY_MS, JITTER_MS),
            });
        }
        self.go_on("in bad weather");
        self.go_on("in bad weather");
        self.fleet.wires.heal();
        let everybody: Vec<usize> = (0..self.fleet.len()).collect();
        self.settle(&everybody, kind);
        Ok(())
    }

    fn torn(&mut self, victims: &[usize]) -> Result<(), &'static str> {
        for _ in 0..TEARS {
            let pairs: Vec<Pair> = self.fleet.wires.pairs().collect();
            for pair in pairs.into_iter().filter(|(a, b)| victims.contains(a) || victims.contains(b)) {
                self.fleet.wires.set(pair, |weather| weather.torn += 1);
            }
            self.go_on("with connections torn");
        }
        self.catch_up(victims, Kind::Torn);
        Ok(())
    }

    /// Everybody gets to where the first of all is now.
    fn settle(&mut self, everybody: &[usize], kind: Kind) {
        let (tip, began) = (self.fleet.tip(&[]), Instant::now());
        for node in everybody {
            until(&format!("{} at height {tip}", self.fleet.seat(*node).agency), || {
                (self.fleet.height(*node)? >= tip).then_some(())
            });
        }
        let worst = self.found.catch_up_ms.entry(kind.name()).or_default();
        *worst = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).max(*worst);
    }
}

/// The most blocks that one of the first lacked of what the first of the others held, until told to end.
fn most_behind(fleet: &Fleet<'_>, victims: &[usize], others: &[usize], ends: &AtomicBool) -> u64 {
    let mut most = 0;
    while !ends.load(Ordering::Relaxed) {
        let (tip, stand) = (fleet.height(others[0]), victims.iter().filter_map(|node| fleet.height(*node)).min());
        most = tip.zip(stand).map_or(0, |(tip, stand)| tip.saturating_sub(stand)).max(most);
    }
    most
}

/// Two nodes as the link between them is named, and the lower of them.
fn pair(a: usize, b: usize) -> (Pair, usize) {
    ((a.min(b), a.max(b)), a.min(b))
}

/// Milliseconds since midnight of an RFC 3339 time with or without a fraction.
fn time_of_day_ms(text: &str) -> Option<u64> {
    let (_, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let mut parts = clock.split([':', '.']).map(str::parse::<u64>);
    let mut next = || parts.next()?.ok();
    let seconds = next()? * 3_600 + next()? * 60 + next()?;
    let digits = clock.split_once('.').map_or("", |(_, digits)| digits);
    Some(seconds * 1_000 + format!("{digits:0<3}").get(..3)?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::time_of_day_ms;

    #[test]
    fn times_are_read_with_and_without_a_fraction() {
        assert_eq!(time_of_day_ms("2026-11-25T00:01:02Z"), Some(62_000));
        assert_eq!(time_of_day_ms("2026-11-25T00:01:02.5Z"), Some(62_500));
        assert_eq!(time_of_day_ms("2026-11-25T01:00:00.025Z"), Some(3_600_025));
        assert_eq!(time_of_day_ms("yesterday"), None);
    }
}
