//! Bytes in JSON: standard base64 with padding, and lower-case hexadecimal for the hashes that people read. Strict in
//! both, so that one value has one text.

/// One byte string in base64.
pub mod base64 {
    use ::base64::Engine;
    use ::base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes.as_ref()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>, T: TryFrom<Vec<u8>>>(deserializer: D) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(|_| D::Error::custom("not base64"))?;
        T::try_from(bytes).map_err(|_| D::Error::custom("wrong number of bytes"))
    }
}

/// A list of hashes in base64, at most one for each level of a tree.
pub mod base64_list {
    use ::base64::Engine;
    use ::base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::crypto::Hash;

    /// Longest inclusion or consistency path in a tree of 2^63 leaves, and one to spare.
    const MAX_HASHES: usize = 128;

    pub fn serialize<S: Serializer>(hashes: &[Hash], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(hashes.iter().map(|hash| STANDARD.encode(hash)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Hash>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        if texts.len() > MAX_HASHES {
            return Err(D::Error::custom("path too long"));
        }
        let hash =
            |text: &String| crate::seal::parse_hash(text).ok_or_else(|| D::Error::custom("not a hash in base64"));
        texts.iter().map(hash).collect()
    }
}

/// A hash in lower-case hexadecimal.
pub mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::crypto::Hash;

    pub fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&::hex::encode(hash))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        let hash = ::hex::decode(&text).ok().and_then(|bytes| Hash::try_from(bytes).ok());
        hash.filter(|hash| ::hex::encode(hash) == text).ok_or_else(|| D::Error::custom("not a hash in hexadecimal"))
    }
}
