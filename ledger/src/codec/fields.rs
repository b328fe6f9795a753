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
