//! Plain HTTP requests, for what has no client of its own: probes, metrics, a simulator's API.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Status and body of an answer.
///
/// # Errors
/// When nobody answers.
pub async fn get(url: &str) -> Result<(u16, String)> {
    send(reqwest::Client::new().get(url)).await
}

/// The JSON of an answer to a request with these headers.
///
/// # Errors
/// When nobody answers, or something else than 200 with JSON.
pub async fn json(url: &str, headers: &[(&str, &str)]) -> Result<Value> {
    let request = reqwest::Client::new().get(url);
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value));
    let (code, body) = send(request).await?;
    ensure!(code == 200, "{url} answers {code}: {body}");
    serde_json::from_str(&body).with_context(|| format!("{url} answers no JSON: {body}"))
}

async fn send(request: reqwest::RequestBuilder) -> Result<(u16, String)> {
    let response = request.send().await?;
    Ok((response.status().as_u16(), response.text().await?))
}
