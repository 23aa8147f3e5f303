//! How some fields are read and written beyond what the derive does.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, value::StringDeserializer},
};

/// Writes an absent struct as an empty one: upstream always has the field, and clients may rely on it.
pub(crate) fn present<T, S>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Serialize + Default,
    S: Serializer,
{
    match value {
        Some(value) => value.serialize(serializer),
        None => T::default().serialize(serializer),
    }
}

/// Reads an empty struct as absent, so that what [`present`] wrote comes back as it was.
pub(crate) fn absent_when_empty<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de> + Default + PartialEq,
    D: Deserializer<'de>,
{
    let value = Option::<T>::deserialize(deserializer)?;
    Ok(value.filter(|value| *value != T::default()))
}

/// Reads a word of a closed set; one that another version wrote counts as none, so that the object stays readable.
pub(crate) fn known_word<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: DeserializeOwned + Default,
    D: Deserializer<'de>,
{
    Ok(optional_known_word(deserializer)?.unwrap_or_default())
}

/// As [`known_word`], for a field that may be absent.
pub(crate) fn optional_known_word<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    let word = Option::<String>::deserialize(deserializer)?;
    Ok(word.and_then(|word| {
        let word: StringDeserializer<serde::de::value::Error> = StringDeserializer::new(word);
        T::deserialize(word).ok()
    }))
}
