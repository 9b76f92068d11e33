//! One watch for each kind, a store of its objects, and a call for every change, deletions and losses included.
//!
//! kube's shared streams do not tell subscribers of deletions, so the pump is ours; listing, watching and recovery are
//! kube's. Objects that do not have the shape of their kind are counted and passed over, so that one cannot end a watch.

use crate::metrics::{ControllerLabel, Metrics};
use backon::BackoffBuilder;
use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::core::error_boundary::InvalidObject;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Namespace and name; the namespace is empty for cluster-wide kinds.
pub type ObjectKey = (String, String);

/// A change of one object.
#[derive(Debug)]
pub struct Change<K> {
    /// Which object.
    pub key: ObjectKey,
    /// How it was, if it was there.
    pub before: Option<Arc<K>>,
    /// How it is, if it is there.
    pub after: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// Whether `facts` of the object are others than before; that it came or went makes them others too.
    pub fn differs<'a, T: PartialEq>(&'a self, facts: impl Fn(&'a K) -> T) -> bool {
        self.before.as_deref().map(&facts) != self.after.as_deref().map(&facts)
    }
}

/// First pause before an interrupted watch is tried again.
const SHORTEST_PAUSE: Duration = Duration::from_millis(800);
/// Longest pause before an interrupted watch is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The same where the API server has no such kind: it may come with another product, some day.
const LONGEST_PAUSE_UNSERVED: Duration = Duration::from_secs(60);

/// Pauses that double, with jitter. They begin anew only when a list is complete: kube's own begin anew with every list that is
/// tried, and would ask for a kind that is not there once a second, for ever.
fn pauses(longest: Duration) -> backon::ExponentialBackoff {
    let pauses = backon::ExponentialBuilder::default().with_min_delay(SHORTEST_PAUSE).with_max_delay(longest);
    pauses.with_factor(2.0).with_jitter().without_max_times().build()
}

fn is_unserved(error: &watcher::Error) -> bool {
    let cause = match error {
        watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause) => cause,
        _ => return false,
    };
    matches!(cause, kube::Error::Api(status) if status.code == 404)
}

/// Whether a version comes before another one. They count up; one that is no number tells nothing.
fn is_older(version: Option<&str>, known: Option<&str>) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    number(version).zip(number(known)).is_some_and(|(version, known)| version < known)
}

type Subscriber<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// The objects of one kind.
pub struct Hub<K> {
    name: &'static str,
    objects: RwLock<BTreeMap<ObjectKey, Arc<K>>>,
    subscribers: RwLock<Vec<Subscriber<K>>>,
    synced: watch::Sender<bool>,
}

impl<K> Debug for Hub<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<K: Clone + Debug + Send + Sync + 'static> Hub<K> {
    /// An empty hub; it fills when [`run`] works on it.
    #[must_use]
    pub fn new(name: &'static str) -> Arc<Self> {
        let (synced, _) = watch::channel(false);
        Arc::new(Self { name, objects: RwLock::default(), subscribers: RwLock::default(), synced })
    }

    /// Calls `subscriber` for every change from now on. It must be quick: it runs in the watch.
    pub fn subscribe(&self, subscriber: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.subscribers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(subscriber));
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.objects.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// All objects of a namespace, by name.
    pub fn namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let from = (namespace.to_owned(), String::new());
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.range(from..).take_while(|((of, _), _)| of == namespace).map(|(_, object)| object.clone()).collect()
    }

    /// All objects, by namespace and name.
    pub fn all(&self) -> Vec<(ObjectKey, Arc<K>)> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.iter().map(|(key, object)| (key.clone(), object.clone())).collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the first list is complete.
    pub async fn synced(&self) {
        let mut receiver = self.synced.subscribe();
        // The sender lives as long as the hub.
        let _ = receiver.wait_for(|synced| *synced).await;
    }

    /// Takes over what a writer knows before the watch does: the object as it is now, or that it is gone.
    pub fn put(&self, key: ObjectKey, object: Option<K>)
    where
        K: Resource,
    {
        let version = object.as_ref().and_then(|object| object.meta().resource_version.clone());
        self.take(key, object, version.as_deref());
    }

    /// Takes over an object, or its absence, and tells the subscribers. What is older than what is known, by its `version`, is passed
    /// over: a watch that is behind, or a writer, would tell the past, and whoever read it would act on it once more. The deletion
    /// of an object of the same name that was there before is such a thing. Without a version it holds in any case.
    fn take(&self, key: ObjectKey, object: Option<K>, version: Option<&str>)
    where
        K: Resource,
    {
        let after = object.map(Arc::new);
        let before = {
            let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
            if objects.get(&key).is_some_and(|known| is_older(version, known.meta().resource_version.as_deref())) {
                return;
            }
            match &after {
                Some(object) => objects.insert(key.clone(), object.clone()),
                None => objects.remove(&key),
            }
        };
        let change = Change { key, before, after };
        for subscriber in self.subscribers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            subscriber(&change);
        }
    }

    /// Replaces everything after a complete list, which holds in any case: where the API server was set back to an older state, versions
    /// begin lower. Objects that are gone are told as deletions.
    fn replace(&self, mut fresh: BTreeMap<ObjectKey, K>)
    where
        K: Resource,
    {
        let gone: Vec<ObjectKey> = {
            let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
            objects.keys().filter(|key| !fresh.contains_key(*key)).cloned().collect()
        };
        for key in gone {
            self.take(key, None, None);
        }
        while let Some((key, object)) = fresh.pop_first() {
            self.take(key, Some(object), None);
        }
        self.synced.send_replace(true);
    }
}

/// Watches a kind and keeps the hub up to date until the token is cancelled. `prune` drops what nobody reads before an
/// object is stored. A kind that is not served (yet) is tried again and again, visibly.
pub async fn run<K>(
    hub: Arc<Hub<K>>,
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    prune: impl Fn(&mut K) + Send + Sync,
    metrics: Metrics,
    stop: CancellationToken,
) where
    K: Resource + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
    K::DynamicType: Clone,
{
    pump(hub, watcher::watcher(api, config), |guarded| guarded.0.map_err(Box::new), prune, metrics, stop).await;
}

/// Watches the metadata of a kind: the API server leaves everything else out of its answers, so the rest of an object (a Secret's values, a
/// pod's images) never reaches this process. Through [`run`] it would: the guard hides from the client that only metadata is asked for.
pub async fn run_metadata<K>(
    hub: Arc<Hub<PartialObjectMeta<K>>>,
    api: Api<PartialObjectMeta<K>>,
    config: watcher::Config,
    prune: fn(&mut PartialObjectMeta<K>),
    metrics: Metrics,
    stop: CancellationToken,
) where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    pump(hub, watcher::watcher(api, config), Ok, prune, metrics, stop).await;
}

/// What [`run`] and [`run_metadata`] share: `decode` gives the object of an event, or what could not be read of it.
async fn pump<T, K>(
    hub: Arc<Hub<K>>,
    events: impl Stream<Item = watcher::Result<Event<T>>> + Send,
    decode: fn(T) -> Result<K, Box<InvalidObject>>,
    prune: impl Fn(&mut K) + Send + Sync,
    metrics: Metrics,
    stop: CancellationToken,
) where
    K: Resource + Clone + Debug + Send + Sync + 'static,
{
    let mut events = Box::pin(events);
    let (mut brief, mut long) = (pauses(LONGEST_PAUSE), pauses(LONGEST_PAUSE_UNSERVED));
    let mut listing: BTreeMap<ObjectKey, K> = BTreeMap::new();
    let label = ControllerLabel { controller: hub.name };
    let mut complained = false;
    let read = |received: T| match decode(received) {
        Ok(mut object) => {
            object.managed_fields_mut().clear();
            object.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
            prune(&mut object);
            Some(((object.namespace().unwrap_or_default(), object.name_any()), object))
        }
        Err(invalid) => {
            let name = invalid.metadata.name.unwrap_or_default();
            let namespace = invalid.metadata.namespace.unwrap_or_default();
            tracing::warn!(kind = hub.name, namespace, name, error = invalid.error, "failed to decode object");
            metrics.undecodable.get_or_create(&label).inc();
            None
        }
    };
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = stop.cancelled() => return,
        };
        match event {
            Some(Ok(event)) => {
                // A list that begins may still fail; one that ends has not.
                if !matches!(event, Event::Init) {
                    complained = false;
                    (brief, long) = (pauses(LONGEST_PAUSE), pauses(LONGEST_PAUSE_UNSERVED));
                }
                match event {
                    Event::Init => listing.clear(),
                    Event::InitApply(object) => listing.extend(read(object)),
                    Event::InitDone => hub.replace(std::mem::take(&mut listing)),
                    Event::Apply(object) => {
                        if let Some((key, object)) = read(object) {
                            hub.put(key, Some(object));
                        }
                    }
                    Event::Delete(object) => {
                        let metadata = match decode(object) {
                            Ok(object) => object.meta().clone(),
                            Err(invalid) => invalid.metadata,
                        };
                        let key = (metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default());
                        hub.take(key, None, metadata.resource_version.as_deref());
                    }
                }
            }
            Some(Err(error)) => {
                if !complained {
                    tracing::warn!(kind = hub.name, %error, "watch failed, retrying");
                    complained = true;
                }
                let pause = if is_unserved(&error) { long.next() } else { brief.next() };
                tokio::select! {
                    () = tokio::time::sleep(pause.unwrap_or(LONGEST_PAUSE)) => {}
                    () = stop.cancelled() => return,
                }
            }
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use std::sync::Mutex;

    fn at(version: &str, content: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("one".into());
        object.metadata.resource_version = Some(version.into());
        object.data = Some([("content".to_owned(), content.to_owned())].into());
        object
    }

    #[test]
    fn a_watch_that_is_behind_changes_nothing_back() {
        let hub = Hub::<ConfigMap>::new("ConfigMap");
        let key = || ("of".to_owned(), "one".to_owned());
        let content = || hub.get("of", "one").map(|object| object.data.clone().unwrap()["content"].clone());
        let watch = |version: &str, content: Option<&str>| {
            hub.take(key(), content.map(|content| at(version, content)), Some(version));
        };
        watch("7", Some("first"));
        hub.put(key(), Some(at("12", "written")));
        watch("9", Some("older"));
        assert_eq!(content().as_deref(), Some("written"));
        // What was deleted is what stood there before.
        watch("11", None);
        assert_eq!(content().as_deref(), Some("written"));
        watch("12", Some("written"));
        watch("100", Some("newer"));
        assert_eq!(content().as_deref(), Some("newer"), "versions are numbers and no words");
        // A writer's answer may come later than what the watch tells of somebody else's change.
        hub.put(key(), Some(at("99", "written before")));
        assert_eq!(content().as_deref(), Some("newer"));
        // A complete list holds, though it counts from a lower number.
        hub.replace([(key(), at("5", "restored"))].into());
        assert_eq!(content().as_deref(), Some("restored"));
        watch("101", None);
        assert_eq!(content(), None);
        hub.put(key(), Some(at("somehow", "other")));
        watch("3", Some("told"));
        assert_eq!(content().as_deref(), Some("told"), "versions that tell nothing stand in nobody's way");
    }

    /// What the watch asks for is what the API server sends: with the header of whole objects it would send values of Secrets.
    #[tokio::test]
    async fn watch_of_metadata_asks_for_metadata_only() {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = asked.clone();
        let answer = move |request: http::Request<kube::client::Body>| {
            let accept = request.headers().get(http::header::ACCEPT).map(|value| value.to_str().unwrap().to_owned());
            noted.lock().unwrap().push(accept.unwrap_or_default());
            let list = r#"{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"one","namespace":"of"}}]}"#;
            let list = if request.uri().query().is_some_and(|query| query.contains("watch=")) { "" } else { list };
            async {
                Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::from(
                    list.as_bytes().to_vec(),
                )))
            }
        };
        let client = kube::Client::new(tower::service_fn(answer), "of");
        let hub = Hub::<PartialObjectMeta<Secret>>::new("Secret");
        let stop = CancellationToken::new();
        let config = watcher::Config::default();
        let watch =
            run_metadata(hub.clone(), Api::namespaced(client, "of"), config, |_| {}, Metrics::default(), stop.clone());
        let seen = async {
            hub.synced().await;
            while asked.lock().unwrap().len() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stop.cancel();
        };
        tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(watch, seen) }).await.unwrap();
        assert_eq!(hub.len(), 1);
        let asked = asked.lock().unwrap();
        assert!(asked[0].contains("as=PartialObjectMetadataList"), "the list: {}", asked[0]);
        assert!(asked[1].contains("as=PartialObjectMetadata"), "the watch: {}", asked[1]);
    }
}
