//! Reading events.

use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client};

use crate::wait;

/// The events about an object, as `reason: message`.
///
/// # Errors
/// When they cannot be read.
pub async fn about(client: &Client, namespace: &str, name: &str) -> Result<Vec<Event>, kube::Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
    Ok(api.list(&about).await?.items)
}

/// Waits for an event with this reason and answers its message.
///
/// # Panics
/// When it does not come.
pub async fn expect(client: &Client, namespace: &str, name: &str, reason: &str) -> String {
    wait::until(
        &format!("event {reason} of {namespace}/{name}"),
        wait::LONG,
        async || {
            let events = about(client, namespace, name)
                .await
                .map_err(|error| error.to_string())?;
            let found = events
                .iter()
                .find(|event| event.reason.as_deref() == Some(reason));
            found
                .map(|event| event.message.clone().unwrap_or_default())
                .ok_or_else(|| {
                    let seen: Vec<_> = events
                        .iter()
                        .filter_map(|event| event.reason.as_deref())
                        .collect();
                    format!("{seen:?}")
                })
        },
    )
    .await
}
