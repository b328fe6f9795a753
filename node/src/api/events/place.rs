//! Where an event stands: height and log index, the same on every node, written so that the order of texts is the order of
//! events.

use std::fmt;

use super::super::Problem;

/// Digits of each number: enough for every integer that JSON holds exactly.
const DIGITS: usize = 16;
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// A place in the log, as `height-index`. It may be that of a header: whoever has read up to there has read the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub height: u64,
    pub index: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$}-{:0DIGITS$}", self.height, self.index)
    }
}

impl Place {
    /// As people may shorten it: zeros in front are not needed.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let number = |digits: &str| {
            let is_number = (1..=DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| digits.parse().ok())?.filter(|number| *number <= MAX_NUMBER)
        };
        let parts = text.split_once('-').and_then(|(height, index)| Some((number(height)?, number(index)?)));
        match parts {
            // Each block has an entry of its own at least.
            Some((height, index)) if height <= index => Ok(Self { height, index }),
            _ => Err(Problem::malformed(format!("{text:?} is no event's id: height-index is wanted"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_texts_is_order_of_events() {
        let places = [(0, 0), (1, 1), (1, 9), (2, 10), (9, 99), (10, 100), (MAX_NUMBER, MAX_NUMBER)];
        let texts = places.map(|(height, index)| Place { height, index }.to_string());
        assert!(texts.is_sorted() && texts.iter().all(|text| text.len() == 33), "{texts:?}");
        for ((height, index), text) in places.into_iter().zip(&texts) {
            assert_eq!(Place::parse(text).expect("its own text"), Place { height, index });
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        assert_eq!(Place::parse("12-345").expect("short"), Place { height: 12, index: 345 });
        for text in
            ["", "-", "1", "1-", "-1", "5-4", "1-2-3", "+1-2", "1- 2", "a-b", "1-00000000000000002", "١-٢", "0x1-2"]
        {
            assert_eq!(Place::parse(text).expect_err(text).code.0, 2003, "{text}");
        }
        assert!(Place::parse("9007199254740992-9007199254740992").is_err());
    }
}
