//! The kinds of faults, and in which order a run meets them.

use crate::load::Dice;

/// What is done to a network of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// kill -9, and started again.
    Kill,
    /// Stands still (SIGSTOP) while the others go on.
    Freeze,
    /// Runs a tenth of the time.
    Slowed,
    /// The system lets it write twenty times a second.
    SlowDisk,
    /// Every write fails for want of room.
    FullDisk,
    /// Started with a clock three seconds behind.
    ClockBehind,
    /// Started with a clock three seconds ahead.
    ClockAhead,
    /// Cut off from all others.
    Partition,
    /// Two halves, neither with a quorum.
    Split,
    /// Hears the others and is not heard.
    OneWay,
    /// Every link a tenth of a second and more.
    Delay,
    /// On every link pieces are lost and sent again.
    Loss,
    /// Connections are torn, again and again.
    Torn,
}

impl Kind {
    pub const ALL: [Self; 13] = [
        Self::Kill,
        Self::Freeze,
        Self::Slowed,
        Self::SlowDisk,
        Self::FullDisk,
        Self::ClockBehind,
        Self::ClockAhead,
        Self::Partition,
        Self::Split,
        Self::OneWay,
        Self::Delay,
        Self::Loss,
        Self::Torn,
    ];

    /// Those of the short form: without what waits for time-outs of the network or moves data.
    pub const SHORT: [Self; 6] = [Self::Kill, Self::Freeze, Self::Slowed, Self::ClockBehind, Self::Delay, Self::Torn];

    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Freeze => "stopped (SIGSTOP)",
            Self::Slowed => "slowed tenfold",
            Self::SlowDisk => "slow disk",
            Self::FullDisk => "full disk",
            Self::ClockBehind => "clock 3 s behind",
            Self::ClockAhead => "clock 3 s ahead",
            Self::Partition => "cut off",
            Self::Split => "split without a quorum",
            Self::OneWay => "heard by nobody",
            Self::Delay => "delay on every link",
            Self::Loss => "loss on every link",
            Self::Torn => "connections torn",
        }
    }

    /// Each kind so many times, in an order that the dice decide.
    pub fn deck(kinds: &[Self], rounds: usize, dice: &mut Dice) -> Vec<Self> {
        let mut deck = Vec::new();
        for _ in 0..rounds {
            let mut round = kinds.to_vec();
            dice.shuffle(&mut round);
            deck.extend(round);
        }
        deck
    }
}
