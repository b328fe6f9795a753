//! How fields of kept values are written that are held in another way than they look on the wire: short names, shared
//! values and lists. Named in `#[cbor(with = ..)]`.

/// A short name is a text, and is copied without an allocation.
pub mod name {
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};
    use smol_str::SmolStr;

    pub fn encode<C, W: Write>(name: &SmolStr, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(name)?.ok()
    }

    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<SmolStr, Error> {
        d.str().map(SmolStr::from)
    }
}

/// A sum that may outgrow 64 bits: an integer, from 2⁶⁴ on big-endian bytes without a leading zero.
pub mod wide {
    use minicbor::data::Type;
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};

    const BYTES: usize = size_of::<u128>();

    pub fn encode<C, W: Write>(sum: &u128, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        if let Ok(short) = u64::try_from(*sum) {
            return e.u64(short)?.ok();
        }
        let leading = usize::try_from(sum.leading_zeros().div_euclid(8)).unwrap_or(0);
        let bytes = sum.to_be_bytes();
        e.bytes(bytes.get(leading..).unwrap_or(&bytes))?.ok()
    }

    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<u128, Error> {
        if d.datatype()? != Type::Bytes {
            return d.u64().map(u128::from);
        }
        let (bytes, mut whole) = (d.bytes()?, [0; BYTES]);
        let start = BYTES.checked_sub(bytes.len()).filter(|start| *start < size_of::<u64>());
        match start.and_then(|start| whole.get_mut(start..)) {
            Some(tail) if bytes.first() != Some(&0) => tail.copy_from_slice(bytes),
            Some(_) | None => return Err(Error::message("a sum of bytes that is not written so")),
        }
        Ok(u128::from_be_bytes(whole))
    }

    #[cfg(test)]
    mod tests {
        fn written(sum: u128) -> Vec<u8> {
            let mut bytes = Vec::new();
            super::encode(&sum, &mut minicbor::Encoder::new(&mut bytes), &mut ()).expect("writing to memory");
            bytes
        }

        fn read(bytes: &[u8]) -> Result<u128, minicbor::decode::Error> {
            super::decode(&mut minicbor::Decoder::new(bytes), &mut ())
        }

        #[test]
        fn sums_are_integers_up_to_64_bits_and_bytes_beyond() {
            let limit = u128::from(u64::MAX);
            for sum in [0, 23, limit, limit + 1, limit * 1_000_000, u128::MAX] {
                assert_eq!(read(&written(sum)).expect("what was written"), sum);
            }
            assert_eq!(written(limit), [0x1b, 255, 255, 255, 255, 255, 255, 255, 255]);
            assert_eq!(written(limit + 1), [0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
            for wrong in [&[0x41, 1][..], &[0x49, 0, 1, 0, 0, 0, 0, 0, 0, 0], &[0x51; 18]] {
                read(wrong).expect_err("another form");
            }
        }
    }
}

/// As [`shared`], of a value that may be absent.
pub mod shared_option {
    use std::sync::Arc;

    use minicbor::encode::{Error, Write};
    use minicbor::{Decode, Decoder, Encode, Encoder};

    pub fn encode<C, T: Encode<C>, W: Write>(
        value: &Option<Arc<T>>,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), Error<W::Error>> {
        value.as_deref().encode(encoder, context)
    }

    pub fn decode<'b, C, T: Decode<'b, C>>(
        decoder: &mut Decoder<'b>,
        context: &mut C,
    ) -> Result<Option<Arc<T>>, minicbor::decode::Error> {
        Ok(Option::<T>::decode(decoder, context)?.map(Arc::new))
    }

    pub fn nil<T>() -> Option<Option<Arc<T>>> {
        Some(None)
    }

    pub fn is_nil<T>(value: &Option<Arc<T>>) -> bool {
        value.is_none()
    }
}

/// A shared list is encoded as a list.
pub mod shared_list {
    use std::sync::Arc;

    use minicbor::{Decode, Decoder};

    pub use super::shared::encode;

    pub fn decode<'b, C, T: Decode<'b, C>>(
        decoder: &mut Decoder<'b>,
        context: &mut C,
    ) -> Result<Arc<[T]>, minicbor::decode::Error> {
        Vec::<T>::decode(decoder, context).map(Arc::from)
    }
}

/// A shared value is encoded as itself.
pub mod shared {
    use std::sync::Arc;

    use minicbor::encode::{Error, Write};
    use minicbor::{Decode, Decoder, Encode, Encoder};

    pub fn encode<C, T: Encode<C> + ?Sized, W: Write>(
        value: &Arc<T>,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), Error<W::Error>> {
        T::encode(value, encoder, context)
    }

    pub fn decode<'b, C, T: Decode<'b, C>>(
        decoder: &mut Decoder<'b>,
        context: &mut C,
    ) -> Result<Arc<T>, minicbor::decode::Error> {
        T::decode(decoder, context).map(Arc::new)
    }
}
