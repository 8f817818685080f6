//! What may happen: some order of the requests, one after the other, that gives
//! the same responses and the same end.

use super::ask::{Ask, BLOB, FIXED, Item, Upload};
use super::stage::Span;
use super::world::World;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What the repository holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Model {
    items: BTreeSet<Item>,
    tags: BTreeMap<String, Item>,
    /// Whether the referrers of [`Item::Plain`] are [`Item::Referrer`], and not none.
    referrer: bool,
    blob: bool,
}

/// A request and what came of it.
#[expect(clippy::struct_excessive_bools, reason = "each says something else of it")]
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) ask: Ask,
    /// None if the process died.
    pub(crate) status: Option<StatusCode>,
    pub(crate) span: Span,
    /// Whether other requests ran at the same time.
    pub(crate) beside: bool,
    /// Whether it may have left what it asked for to another of the same kind.
    pub(crate) yields: bool,
    /// Whether an image is pushed at the same time.
    pub(crate) links: bool,
    /// Whether it may be refused because another request claims the same tag.
    pub(crate) claims: bool,
}

impl Model {
    /// Applies a request that got this response; `false` if it cannot have got
    /// it. `beside` says that another request ran at the same time: of two that
    /// delete the same, both may say so.
    pub(crate) fn apply(&mut self, ask: Ask, status: StatusCode, beside: bool) -> bool {
        let deleted = |was: bool| match status.as_u16() {
            202 => was || beside,
            404 => !was,
            _ => false,
        };
        if self.is_fixed_against(ask) {
            return status == 409;
        }
        match ask {
            Ask::Put(Item::Image, _) if status == 400 => !self.blob,
            Ask::Put(Item::Image, _) if !self.blob => false,
            Ask::Put(item, tag) => {
                self.items.insert(item);
                self.referrer |= item == Item::Referrer;
                if let Some(tag) = tag {
                    self.tags.insert(tag.to_owned(), item);
                }
                status == 201
            }
            Ask::Delete(item) => {
                let was = self.items.remove(&item);
                self.referrer &= item != Item::Referrer;
                self.tags.retain(|_, to| *to != item);
                deleted(was)
            }
            Ask::DeleteTag(tag) => deleted(self.tags.remove(tag).is_some()),
            Ask::DeleteRepository => {
                let was = *self != Self::default();
                *self = Self::default();
                deleted(was)
            }
            Ask::Get(item) => found(self.items.contains(&item), status),
            Ask::GetTag(tag) => found(self.tags.contains_key(tag), status),
            // Some of what changes meanwhile may be listed.
            Ask::Tags => status == 200 || status == 404,
            Ask::Referrers => status == 200,
            Ask::PushBlob | Ask::Mount => {
                self.blob = true;
                status == 201
            }
            Ask::PushSource => status == 201,
            Ask::DeleteBlob => {
                let was = std::mem::take(&mut self.blob);
                deleted(was)
            }
            Ask::HeadBlob | Ask::GetBlob => found(self.blob, status),
            Ask::Start => status == 202,
            Ask::Append | Ask::AppendMore => matches!(status.as_u16(), 202 | 404 | 409 | 416),
            Ask::Commit => {
                self.blob |= status == 201;
                matches!(status.as_u16(), 201 | 400 | 404 | 409 | 416)
            }
            Ask::Cancel => matches!(status.as_u16(), 204 | 404 | 409),
        }
    }

    /// What may be there of a request whose response nobody has seen.
    fn partly(&self, ask: Ask) -> Vec<Self> {
        let mut all = vec![self.clone()];
        match ask {
            Ask::Put(item, tag) if item != Item::Image || self.blob => {
                let mut model = self.clone();
                model.items.insert(item);
                all.push(model.clone());
                model.referrer |= item == Item::Referrer;
                all.push(model.clone());
                if let Some(tag) = tag
                    && (tag != FIXED || !self.is_fixed_elsewhere(item))
                {
                    model.tags.insert(tag.to_owned(), item);
                    all.push(model);
                }
            }
            Ask::Delete(item) => {
                let mut model = self.clone();
                let tags: Vec<String> = self.tags.keys().cloned().collect();
                for tag in tags.into_iter().filter(|tag| self.tags.get(tag) == Some(&item)) {
                    model.tags.remove(&tag);
                    all.push(model.clone());
                }
                model.referrer &= item != Item::Referrer;
                all.push(model.clone());
                model.items.remove(&item);
                all.push(model);
            }
            Ask::DeleteTag(tag) => {
                let mut model = self.clone();
                model.tags.remove(tag);
                all.push(model);
            }
            Ask::DeleteRepository => {
                // Tags go first, and then manifests, each with its tags.
                let mut tags = vec![self.clone()];
                for tag in self.tags.keys() {
                    let without = tags.iter().cloned().map(|mut model| {
                        model.tags.remove(tag);
                        model
                    });
                    tags.extend(without.collect::<Vec<_>>());
                }
                for item in Item::ALL {
                    let without = tags.iter().cloned().map(|mut model| {
                        model.items.remove(&item);
                        model.tags.retain(|_, to| *to != item);
                        model.referrer &= item != Item::Referrer;
                        model
                    });
                    tags.extend(without.collect::<Vec<_>>());
                }
                let entries = tags.iter().cloned().map(|model| Self { referrer: false, ..model });
                tags.extend(entries.collect::<Vec<_>>());
                all.append(&mut tags);
                all.push(Self::default());
            }
            Ask::PushBlob | Ask::Mount | Ask::Commit => {
                all.push(Self { blob: true, ..self.clone() });
            }
            Ask::DeleteBlob => all.push(Self { blob: false, ..self.clone() }),
            _ => {}
        }
        all
    }

    /// What a deletion may leave when others run at the same time: a blob that was
    /// pushed just now, or that the push of an image has seen and links again; and of a
    /// repository, all that another deletion is about to delete.
    fn beside_others(&self, event: &Event) -> Vec<Self> {
        if event.beside && event.status.is_some_and(|status| status != 202) {
            return self.refused(event);
        }
        if !event.beside || event.status.is_none_or(|status| status != 202) {
            return Vec::new();
        }
        match event.ask {
            Ask::DeleteBlob if event.links => vec![self.clone()],
            Ask::DeleteRepository => {
                let mut all = vec![Self { blob: self.blob, ..Self::default() }];
                all.extend(event.yields.then(|| self.clone()));
                all
            }
            _ => Vec::new(),
        }
    }

    /// Whether a request is refused because of the tag that never changes.
    fn is_fixed_against(&self, ask: Ask) -> bool {
        match ask {
            Ask::Put(item, Some(FIXED)) => self.is_fixed_elsewhere(item),
            Ask::Delete(item) => self.tags.get(FIXED) == Some(&item),
            Ask::DeleteTag(FIXED) | Ask::DeleteRepository => self.tags.contains_key(FIXED),
            _ => false,
        }
    }

    /// Whether the tag that never changes points to another manifest.
    fn is_fixed_elsewhere(&self, item: Item) -> bool {
        self.tags.get(FIXED).is_some_and(|found| *found != item)
    }

    /// What a request leaves that is refused because of the tag that never changes: a push that
    /// was not first has stored the manifest, and a deletion of the repository may have begun.
    fn refused(&self, event: &Event) -> Vec<Self> {
        let status = event.status.map_or(0, |status| status.as_u16());
        match event.ask {
            Ask::Put(item, Some(FIXED))
                if status == 409 && self.is_fixed_elsewhere(item)
                    || status == 503 && event.claims =>
            {
                let mut all = self.partly(event.ask);
                all.retain(|model| model.tags == self.tags);
                all
            }
            Ask::DeleteRepository if status == 409 && self.tags.contains_key(FIXED) => {
                let mut all = self.partly(event.ask);
                let fixed = self.tags.get(FIXED);
                all.retain(|model| model.tags.get(FIXED) == fixed);
                all
            }
            _ => Vec::new(),
        }
    }

    /// Reads all of the repository.
    ///
    /// # Errors
    /// When something is there that leads nowhere or is not what it was.
    pub(crate) fn observe(world: &World) -> Result<Self, String> {
        let mut model = Self::default();
        let ask = |ask: Ask| world.send(0, ask.request(&Upload::default()));
        for item in Item::ALL {
            if check(Ask::Get(item), &ask(Ask::Get(item)))?.is_some() {
                model.items.insert(item);
            }
        }
        let listed = ask(Ask::Tags);
        let names = match listed.status().as_u16() {
            200 => strings(listed.body(), "tags", Value::as_str),
            404 => Vec::new(),
            status => return Err(format!("the list of tags has the status {status}")),
        };
        for tag in ["a", "b", "c", FIXED] {
            let response = ask(Ask::GetTag(tag));
            let item = check(Ask::GetTag(tag), &response)?;
            match (item, names.iter().any(|name| name == tag)) {
                (Some(item), true) if model.items.contains(&item) => {
                    model.tags.insert(tag.to_owned(), item);
                }
                (None, false) => {}
                (Some(item), true) => {
                    return Err(format!("the tag {tag} leads to {item:?}, which is not there"));
                }
                (None, true) => return Err(format!("the tag {tag} leads nowhere")),
                (Some(_), false) => return Err(format!("the tag {tag} is not listed")),
            }
        }
        let listed = ask(Ask::Referrers);
        let digests =
            strings(listed.body(), "manifests", |descriptor| descriptor["digest"].as_str());
        match digests.as_slice() {
            [] => {}
            [one] if *one == Item::Referrer.digest().as_str() => model.referrer = true,
            other => return Err(format!("the referrers are {other:?}")),
        }
        if model.referrer && !model.items.contains(&Item::Referrer) {
            return Err("a referrer is listed that is not there".to_owned());
        }
        let blob = ask(Ask::GetBlob);
        check(Ask::GetBlob, &blob)?;
        model.blob = blob.status() == 200;
        Ok(model)
    }

    /// Whether some order of the events, from this state, ends in `end`.
    pub(crate) fn explains(&self, events: &[Event], end: &Self) -> bool {
        if events.is_empty() {
            return self == end;
        }
        (0..events.len()).any(|first| {
            let event = &events[first];
            if events.iter().any(|other| other.precedes(event)) {
                return false;
            }
            let mut rest = events.to_vec();
            rest.remove(first);
            match event.status {
                Some(status) => {
                    let mut model = self.clone();
                    model.apply(event.ask, status, event.beside) && model.explains(&rest, end)
                        || self.beside_others(event).iter().any(|model| model.explains(&rest, end))
                }
                None => self.partly(event.ask).iter().any(|model| model.explains(&rest, end)),
            }
        })
    }
}

impl Event {
    /// Whether this one must come before another. A deletion by digest comes
    /// before what began after it first changed something: what is pushed while
    /// it goes on stays.
    fn precedes(&self, other: &Self) -> bool {
        let began = other.span.begin;
        let ended = self.status.is_some() && self.span.end < began;
        let deletes = matches!(self.ask, Ask::Delete(_));
        let pushes = matches!(other.ask, Ask::Put(..));
        ended || (deletes && pushes && self.span.changed.is_some_and(|moment| moment < began))
    }
}

/// Checks that what a response serves is what was asked for. `None` if it was not
/// there.
pub(crate) fn check(ask: Ask, response: &Response<Bytes>) -> Result<Option<Item>, String> {
    let status = response.status();
    if status.is_server_error() {
        return Err(format!("{ask:?} has the status {status}"));
    }
    let item = match ask {
        Ask::GetBlob if status == 200 && *response.body() != BLOB => {
            return Err("the blob has other bytes".to_owned());
        }
        Ask::Get(item) if status == 200 => item,
        Ask::GetTag(_) if status == 200 => {
            let digest = response.headers().get("docker-content-digest");
            let item = digest.and_then(|digest| Item::of(digest.to_str().ok()?));
            item.ok_or_else(|| format!("{ask:?} has an unknown digest"))?
        }
        _ => return Ok(None),
    };
    if *response.body() != item.bytes() {
        return Err(format!("{ask:?} does not have the bytes of {item:?}"));
    }
    let media_type = response.headers().get(CONTENT_TYPE);
    if media_type.is_none_or(|media_type| *media_type != item.media_type()) {
        return Err(format!("{ask:?} has the type {media_type:?} and not that of {item:?}"));
    }
    Ok(Some(item))
}

fn found(there: bool, status: StatusCode) -> bool {
    status == if there { 200 } else { 404 }
}

fn strings(json: &Bytes, list: &str, of: impl Fn(&Value) -> Option<&str>) -> Vec<String> {
    let json: Value = serde_json::from_slice(json).unwrap_or_default();
    let list = json[list].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|value| of(value).map(str::to_owned)).collect()
}
