//! Messages as bytes: what a client that keeps to the contract cannot send.

use prost::bytes::{Buf as _, BufMut as _};
use prost::encoding::{WireType, encode_key, encode_varint};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// A client that sends any bytes.
pub(crate) struct Raw {
    grpc: Grpc<Channel>,
    token: MetadataValue<Ascii>,
}

impl Raw {
    pub(crate) fn new(channel: Channel, token: &str) -> Self {
        Self {
            grpc: Grpc::new(channel),
            token: format!("Bearer {token}").parse().unwrap(),
        }
    }

    /// The first answer, or why there is none.
    pub(crate) async fn call(&mut self, name: &str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
        self.grpc.ready().await.unwrap();
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        let path = format!("/metal3.host.v1.HostService/{name}").parse().unwrap();
        let stream = self.grpc.server_streaming(request, path, Bytes).await?;
        stream.into_inner().message().await.map(Option::unwrap_or_default)
    }
}

struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

/// A field with a text, or a message, in it.
pub(super) fn block(field: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(field, WireType::LengthDelimited, &mut bytes);
    encode_varint(content.len().try_into().unwrap(), &mut bytes);
    bytes.extend(content);
    bytes
}

pub(super) fn text(field: u32, content: &str) -> Vec<u8> {
    block(field, content.as_bytes())
}

/// A field with a number in it; negative ones are long.
pub(super) fn number(field: u32, content: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(field, WireType::Varint, &mut bytes);
    encode_varint(content.cast_unsigned(), &mut bytes);
    bytes
}
