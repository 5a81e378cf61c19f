//! The lake in S3: every put demands that its key is new.

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_s3::{Client, config::Builder, primitives::ByteStream};
use shared::ports::{
    Unavailable,
    lake::{Lake, Put, validate, validate_removal},
};

use crate::error::unavailable;

const PORT: &str = "lake";
/// How often a put is repeated that met another put of the same key under way (S3 answers 409 to one of them).
const TRIES: u32 = 4;

#[derive(Debug)]
pub struct S3Lake {
    client: Client,
    bucket: String,
}

impl S3Lake {
    pub fn new(sdk: &SdkConfig, bucket: &str) -> Self {
        // An endpoint of one's own has no host name for each bucket.
        let config = Builder::from(sdk).force_path_style(sdk.endpoint_url().is_some()).build();
        Self { client: Client::from_conf(config), bucket: bucket.to_owned() }
    }
}

#[async_trait]
impl Lake for S3Lake {
    /// A put whose answer was lost is repeated by the SDK and finds its own object: then it answers `Exists`, and whoever
    /// asked reads back what is there.
    async fn put_new(&self, key: &str, bytes: Vec<u8>) -> Result<Put, Unavailable> {
        validate(key)?;
        let content_type = if key.ends_with(".gz") { "application/gzip" } else { "application/json" };
        // Shared, not copied, by every try.
        let bytes = bytes::Bytes::from(bytes);
        let mut tries = 1;
        loop {
            let put = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .if_none_match("*")
                .content_type(content_type)
                .body(ByteStream::from(bytes.clone()))
                .send()
                .await;
            let Err(error) = put else { return Ok(Put::Created) };
            match error.raw_response().map(|response| response.status().as_u16()) {
                Some(412) => return Ok(Put::Exists),
                Some(409) if tries < TRIES => tries += 1,
                _ => return Err(unavailable(PORT, "PutObject", &error)),
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        validate(key)?;
        let got = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        let object = match got {
            Ok(object) => object,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => return Ok(None),
            Err(error) => return Err(unavailable(PORT, "GetObject", &error)),
        };
        let body = object.body.collect().await.map_err(|cause| Unavailable::new(PORT, cause))?;
        Ok(Some(body.to_vec()))
    }

    /// S3 answers the same whether there was such an object or not.
    async fn remove(&self, key: &str) -> Result<(), Unavailable> {
        validate_removal(key)?;
        let removed = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
        removed.map(|_| ()).map_err(|error| unavailable(PORT, "DeleteObject", &error))
    }
}
