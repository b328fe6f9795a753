//! Canonical bytes: a small value model over deterministic CBOR (RFC 8949 section 4.2.1) with a strict decoder, and a
//! reader and writer for fixed big-endian layouts. Knows nothing about what the bytes mean.

mod fields;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use smol_str::SmolStr;
use thiserror::Error;

pub(crate) use fields::{name, shared, shared_list, shared_option, wide};

/// Deepest nesting of arrays and maps that any document may have.
pub const MAX_DEPTH: usize = 8;

/// Items for which room is made at once.
const MAX_ROOM: u64 = 16;

/// Why bytes are not the canonical encoding of anything that we read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecFault {
    #[error("not well-formed CBOR at byte {0}")]
    Malformed(usize),
    #[error("CBOR of a kind that is not allowed at byte {0}")]
    Forbidden(usize),
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("not the canonical encoding")]
    NotCanonical,
    #[error("{0} bytes follow the end")]
    Trailing(usize),
    #[error("ends {0} bytes early")]
    Truncated(usize),
    #[error("{0}")]
    Invalid(&'static str),
}

/// What a canonical document may hold: no floats, no tags, no indefinite lengths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Null,
    Bool(bool),
    Uint(u64),
    /// A negative number; its CBOR argument is −1 − n.
    Int(i64),
    Bytes(Vec<u8>),
    Text(SmolStr),
    Array(Vec<Value>),
    /// Kept in canonical order of the encoded keys.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// A map in canonical order, whatever the order of `pairs`.
    pub fn map(pairs: Vec<(Value, Value)>) -> Value {
        let mut keyed: Vec<(Vec<u8>, (Value, Value))> = pairs.into_iter().map(|pair| (pair.0.encode(), pair)).collect();
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
        Value::Map(keyed.into_iter().map(|(_, pair)| pair).collect())
    }

    /// A map with text keys.
    pub fn text_map<'a>(pairs: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
        Value::map(pairs.into_iter().map(|(key, value)| (Value::Text(key.into()), value)).collect())
    }

    pub fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    pub fn bytes(bytes: &[u8]) -> Value {
        Value::Bytes(bytes.to_vec())
    }

    /// The value under a text key of a map.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(pairs) => {
                pairs.iter().find(|(k, _)| matches!(k, Value::Text(text) if text == key)).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The value under an unsigned key of a map.
    pub fn at(&self, key: u64) -> Option<&Value> {
        match self {
            Value::Map(pairs) => pairs.iter().find(|(k, _)| *k == Value::Uint(key)).map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn as_uint(&self) -> Option<u64> {
        if let Value::Uint(number) = self { Some(*number) } else { None }
    }

    pub fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(flag) = self { Some(*flag) } else { None }
    }

    pub fn as_array(&self) -> Option<&[Value]> {
        if let Value::Array(items) = self { Some(items) } else { None }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        write_value(&mut encoder, self);
        bytes
    }

    /// Reads exactly one canonical value; anything else, even one trailing byte, is refused.
    pub fn decode(bytes: &[u8]) -> Result<Value, CodecFault> {
        let mut decoder = Decoder::new(bytes);
        let value = read_value(&mut decoder, 0)?;
        let used = decoder.position();
        if used != bytes.len() {
            return Err(CodecFault::Trailing(bytes.len().saturating_sub(used)));
        }
        Ok(value)
    }
}

fn write_value(encoder: &mut Encoder<&mut Vec<u8>>, value: &Value) {
    // Writing to a Vec cannot fail; the result carries Infallible.
    let written: Result<(), minicbor::encode::Error<std::convert::Infallible>> = (|| match value {
        Value::Null => encoder.null().map(drop),
        Value::Bool(flag) => encoder.bool(*flag).map(drop),
        Value::Uint(number) => encoder.u64(*number).map(drop),
        Value::Int(number) => encoder.i64(*number).map(drop),
        Value::Bytes(bytes) => encoder.bytes(bytes).map(drop),
        Value::Text(text) => encoder.str(text).map(drop),
        Value::Array(items) => {
            encoder.array(u64::try_from(items.len()).unwrap_or(u64::MAX))?;
            items.iter().for_each(|item| write_value(encoder, item));
            Ok(())
        }
        Value::Map(pairs) => {
            encoder.map(u64::try_from(pairs.len()).unwrap_or(u64::MAX))?;
            for (key, value) in pairs {
                write_value(encoder, key);
                write_value(encoder, value);
            }
            Ok(())
        }
    })();
    debug_assert!(written.is_ok());
}

fn read_value(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, CodecFault> {
    let at = decoder.position();
    let malformed = |_| CodecFault::Malformed(at);
    // What follows a head that is longer than it must be has no canonical encoding.
    let shortest = |decoder: &Decoder<'_>, argument: u64, content: usize| {
        let used = decoder.position().saturating_sub(at);
        if head_length(argument).saturating_add(content) == used { Ok(()) } else { Err(CodecFault::NotCanonical) }
    };
    let kind = decoder.datatype().map_err(malformed)?;
    if depth >= MAX_DEPTH && matches!(kind, Type::Array | Type::ArrayIndef | Type::Map | Type::MapIndef) {
        return Err(CodecFault::TooDeep);
    }
    match kind {
        Type::Null => decoder.null().map(|()| Value::Null).map_err(malformed),
        Type::Bool => decoder.bool().map(Value::Bool).map_err(malformed),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
            let number = decoder.u64().map_err(malformed)?;
            shortest(decoder, number, 0)?;
            Ok(Value::Uint(number))
        }
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => {
            let number = decoder.i64().map_err(malformed)?;
            shortest(decoder, (!number).cast_unsigned(), 0)?;
            Ok(Value::Int(number))
        }
        Type::Bytes => {
            let bytes = decoder.bytes().map_err(malformed)?;
            shortest(decoder, length_of(bytes), bytes.len())?;
            Ok(Value::Bytes(bytes.to_vec()))
        }
        Type::String => {
            let text = decoder.str().map_err(malformed)?;
            shortest(decoder, length_of(text.as_bytes()), text.len())?;
            Ok(Value::Text(text.into()))
        }
        Type::Array => {
            let count = decoder.array().map_err(malformed)?.ok_or(CodecFault::Forbidden(at))?;
            shortest(decoder, count, 0)?;
            let mut items = Vec::with_capacity(room_for(count));
            for _ in 0..count {
                items.push(read_value(decoder, depth.saturating_add(1))?);
            }
            Ok(Value::Array(items))
        }
        Type::Map => {
            let count = decoder.map().map_err(malformed)?.ok_or(CodecFault::Forbidden(at))?;
            shortest(decoder, count, 0)?;
            read_map(decoder, count, depth).map(Value::Map)
        }
        _ => Err(CodecFault::Forbidden(at)),
    }
}

/// Bytes of the shortest head with this argument (RFC 8949 section 3).
pub(crate) fn head_length(argument: u64) -> usize {
    match argument {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Room for what is announced, as far as honest records go: the rest must come before it is believed.
fn room_for(count: u64) -> usize {
    usize::try_from(count.min(MAX_ROOM)).unwrap_or_default()
}

fn read_map(decoder: &mut Decoder<'_>, count: u64, depth: usize) -> Result<Vec<(Value, Value)>, CodecFault> {
    let mut pairs: Vec<(Value, Value)> = Vec::with_capacity(room_for(count));
    let mut previous: Option<&[u8]> = None;
    for _ in 0..count {
        let start = decoder.position();
        let key = read_value(decoder, depth.saturating_add(1))?;
        let encoded = decoder.input().get(start..decoder.position()).ok_or(CodecFault::Malformed(start))?;
        if previous.is_some_and(|before| before >= encoded) {
            return Err(CodecFault::NotCanonical);
        }
        previous = Some(encoded);
        pairs.push((key, read_value(decoder, depth.saturating_add(1))?));
    }
    Ok(pairs)
}

/// Reads a fixed big-endian layout from the front of a slice; [`Reader::finish`] insists that nothing is left.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], CodecFault> {
        let (head, tail) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| CodecFault::Truncated(count.saturating_sub(self.rest.len())))?;
        self.rest = tail;
        Ok(head)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecFault> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    pub fn u8(&mut self) -> Result<u8, CodecFault> {
        self.array().map(u8::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, CodecFault> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, CodecFault> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, CodecFault> {
        self.array().map(u64::from_be_bytes)
    }

    /// A length (u32) and that many bytes, at most `limit`.
    pub fn counted(&mut self, limit: usize) -> Result<&'a [u8], CodecFault> {
        let length = usize::try_from(self.u32()?).map_err(|_| CodecFault::Invalid("length"))?;
        if length > limit {
            return Err(CodecFault::Invalid("length over limit"));
        }
        self.take(length)
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn finish(self) -> Result<(), CodecFault> {
        if self.rest.is_empty() { Ok(()) } else { Err(CodecFault::Trailing(self.rest.len())) }
    }
}

/// Appends a length (u32) and the bytes. The length always fits: every document has a far lower limit.
pub fn put_counted(target: &mut Vec<u8>, bytes: &[u8]) {
    target.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    target.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(bytes: &[u8], expected: CodecFault) {
        assert_eq!(Value::decode(bytes), Err(expected));
    }

    #[test]
    fn refuses_what_is_not_canonical() {
        refused(&[0x18, 0x05], CodecFault::NotCanonical); // 5 in two bytes
        refused(&[0x38, 0x05], CodecFault::NotCanonical); // −6 in two bytes
        refused(&[0xa2, 0x02, 0x00, 0x01, 0x00], CodecFault::NotCanonical); // keys out of order
        refused(&[0xa2, 0x01, 0x00, 0x01, 0x00], CodecFault::NotCanonical); // key twice
        refused(&[0x9f, 0xff], CodecFault::Forbidden(0)); // indefinite
        refused(&[0xf9, 0x00, 0x00], CodecFault::Forbidden(0)); // float
        refused(&[0xc0, 0x00], CodecFault::Forbidden(0)); // tag
        refused(&[0x00, 0x00], CodecFault::Trailing(1));
        refused(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], CodecFault::Malformed(9));
    }

    #[test]
    fn eight_levels_are_read_and_no_ninth() {
        let nested = |levels: usize| [vec![0x81; levels], vec![0x00]].concat();
        assert!(Value::decode(&nested(8)).is_ok());
        for levels in [9, 10, 3_000] {
            refused(&nested(levels), CodecFault::TooDeep);
        }
        // Neither an empty container nor a map is a way round it.
        refused(&[vec![0x81; 8], vec![0x80]].concat(), CodecFault::TooDeep);
        refused(&[vec![0x81; 8], vec![0xa0]].concat(), CodecFault::TooDeep);
    }

    /// Head of a major type with an argument of so many bytes.
    fn head(major: u8, argument: u64, width: usize) -> Vec<u8> {
        let additional = match width {
            0 => u8::try_from(argument).expect("below 24"),
            1 => 24,
            2 => 25,
            4 => 26,
            _ => 27,
        };
        let mut bytes = vec![major << 5 | additional];
        bytes.extend_from_slice(&argument.to_be_bytes()[8 - width..]);
        bytes
    }

    #[test]
    fn of_every_head_only_the_shortest_is_read() {
        let arguments = [0, 1, 23, 24, 255, 256, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, i64::MAX as u64];
        let mut seen = (0, 0);
        for (major, argument) in (0..=5).flat_map(|major| arguments.map(|argument| (major, argument))) {
            // What has content has little of it here.
            if major > 1 && argument > 0x1_0000 {
                continue;
            }
            let content: Vec<u8> = match major {
                0 | 1 => Vec::new(),
                2 | 3 => vec![b'a'; argument as usize],
                4 => vec![0xf6; argument as usize],
                _ => (0..argument)
                    .flat_map(|number| [head(2, 8, 0), number.to_be_bytes().into(), vec![0xf6]].concat())
                    .collect(),
            };
            let fits = |width: &usize| match width {
                0 => argument < 24,
                width => *width == 8 || argument >> (8 * width) == 0,
            };
            for (place, width) in [0, 1, 2, 4, 8].into_iter().filter(fits).enumerate() {
                let bytes = [head(major, argument, width), content.clone()].concat();
                match Value::decode(&bytes) {
                    Ok(value) if place == 0 => {
                        assert_eq!(value.encode(), bytes);
                        seen.0 += 1;
                    }
                    Err(CodecFault::NotCanonical) if place > 0 => seen.1 += 1,
                    other => panic!("{major} {argument} in {width} bytes: {other:?}"),
                }
            }
        }
        assert_eq!(seen, (54, 140));
    }

    #[test]
    fn of_all_short_inputs_only_canonical_ones_are_read() {
        let mut read = 0;
        for bytes in (0..=u16::MAX).flat_map(|two| [vec![two.to_be_bytes()[0]], two.to_be_bytes().to_vec()]) {
            if let Ok(value) = Value::decode(&bytes) {
                assert_eq!(value.encode(), bytes);
                read += 1;
            }
        }
        assert!(read > 500, "{read}");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<u64>().prop_map(Value::Uint),
            (i64::MIN..0).prop_map(Value::Int),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
            "[a-z]{0,30}".prop_map(|text| Value::text(&text)),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::btree_map("[a-z]{0,6}".prop_map(|text| Value::text(&text)), inner, 0..6)
                    .prop_map(|map| Value::map(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn round_trips(value in value()) {
            prop_assert_eq!(Value::decode(&value.encode()), Ok(value));
        }

        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = Value::decode(&bytes) {
                prop_assert_eq!(value.encode(), bytes);
            }
        }
    }
}
