//! A bounded store in memory whose entries all live equally long.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Entries by key, each for the same time. Where it is full, the oldest gives way:
/// whoever fills it can't use up the memory, nor lock others out.
#[derive(Debug)]
pub struct Expiring<V> {
    life: Duration,
    capacity: usize,
    entries: Mutex<Entries<V>>,
}

/// Entries are numbered as they come, so that the numbers are in the order of
/// expiry, too.
#[derive(Debug)]
struct Entries<V> {
    next: u64,
    numbers: HashMap<String, u64>,
    by_age: BTreeMap<u64, Entry<V>>,
}

#[derive(Debug)]
struct Entry<V> {
    key: String,
    expires: Instant,
    value: V,
}

impl<V> Expiring<V> {
    /// An empty store for at most `capacity` entries.
    #[must_use]
    pub fn new(life: Duration, capacity: usize) -> Self {
        Self {
            life,
            capacity,
            entries: Mutex::new(Entries {
                next: 0,
                numbers: HashMap::new(),
                by_age: BTreeMap::new(),
            }),
        }
    }

    /// How long an entry lives.
    #[must_use]
    pub const fn life(&self) -> Duration {
        self.life
    }

    /// Puts an entry in at this instant.
    pub fn insert(&self, now: Instant, key: String, value: V) {
        let mut entries = self.lock();
        entries.remove(&key);
        entries.drop_expired(now);
        self.put(&mut entries, now, key, value);
    }

    /// Puts an entry in at this instant unless it is there: of many who ask at once, one
    /// is told that it was new.
    pub fn insert_new(&self, now: Instant, key: String, value: V) -> bool {
        let mut entries = self.lock();
        entries.drop_expired(now);
        let new = !entries.numbers.contains_key(&key);
        if new {
            self.put(&mut entries, now, key, value);
        }
        new
    }

    /// Takes an entry out: of many who ask at once, one gets it.
    pub fn take(&self, now: Instant, key: &str) -> Option<V> {
        let mut entries = self.lock();
        entries.drop_expired(now);
        entries.remove(key)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().by_age.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn put(&self, entries: &mut Entries<V>, now: Instant, key: String, value: V) {
        while entries.by_age.len() >= self.capacity {
            let Some((_, oldest)) = entries.by_age.pop_first() else {
                break;
            };
            entries.numbers.remove(&oldest.key);
        }
        let number = entries.next;
        entries.next += 1;
        entries.numbers.insert(key.clone(), number);
        let expires = now + self.life;
        let entry = Entry {
            key,
            expires,
            value,
        };
        entries.by_age.insert(number, entry);
    }

    fn lock(&self) -> MutexGuard<'_, Entries<V>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Clone> Expiring<V> {
    /// Looks an entry up.
    #[must_use]
    pub fn get(&self, now: Instant, key: &str) -> Option<V> {
        let mut entries = self.lock();
        entries.drop_expired(now);
        let number = entries.numbers.get(key)?;
        entries.by_age.get(number).map(|entry| entry.value.clone())
    }
}

impl<V> Entries<V> {
    fn remove(&mut self, key: &str) -> Option<V> {
        let number = self.numbers.remove(key)?;
        self.by_age.remove(&number).map(|entry| entry.value)
    }

    fn drop_expired(&mut self, now: Instant) {
        while let Some(oldest) = self.by_age.first_entry() {
            if oldest.get().expires > now {
                break;
            }
            let entry = oldest.remove();
            self.numbers.remove(&entry.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    const LIFE: Duration = Duration::from_secs(300);

    #[test]
    fn an_entry_is_taken_once() {
        let now = Instant::now();
        let store = Expiring::new(LIFE, 10);
        store.insert(now, "a".into(), 1);
        assert_eq!(store.take(now, "b"), None);
        assert_eq!(store.take(now, "a"), Some(1));
        assert_eq!(store.take(now, "a"), None);
    }

    #[test]
    fn of_many_who_take_at_once_one_gets_it() {
        let now = Instant::now();
        let store = Expiring::new(LIFE, 10);
        store.insert(now, "a".into(), 1);
        let got = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    if store.take(now, "a").is_some() {
                        got.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(got.into_inner(), 1);
    }

    #[test]
    fn an_entry_lives_just_so_long() {
        let began = Instant::now();
        let store = Expiring::new(LIFE, 10);
        store.insert(began, "a".into(), 1);
        let last = began + LIFE - Duration::from_millis(1);
        assert_eq!(store.get(last, "a"), Some(1));
        assert_eq!(store.get(began + LIFE, "a"), None);
        assert!(store.is_empty(), "what has expired is kept");
    }

    #[test]
    fn the_oldest_gives_way() {
        let now = Instant::now();
        let store = Expiring::new(LIFE, 2);
        for key in ["a", "b", "c"] {
            store.insert(now, key.into(), key.to_owned());
        }
        assert_eq!(store.get(now, "a"), None);
        assert_eq!(store.get(now, "b").as_deref(), Some("b"));
        assert_eq!(store.get(now, "c").as_deref(), Some("c"));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u8),
        Take(u8),
        Wait(u64),
    }

    proptest! {
        #[test]
        fn it_is_a_map_that_forgets_and_stays_small(
            steps in proptest::collection::vec(
                prop_oneof![
                    (0..9_u8).prop_map(Step::Insert),
                    (0..9_u8).prop_map(Step::Take),
                    (0..200_u64).prop_map(Step::Wait),
                ],
                0..80,
            )
        ) {
            let store = Expiring::new(LIFE, 4);
            let mut now = Instant::now();
            // The same as a list, oldest first.
            let mut model: Vec<(String, Instant)> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(key) => {
                        let key = key.to_string();
                        model.retain(|(known, _)| *known != key);
                        if model.len() == 4 {
                            model.remove(0);
                        }
                        model.push((key.clone(), now + LIFE));
                        store.insert(now, key, ());
                    }
                    Step::Take(key) => {
                        let key = key.to_string();
                        let known = model.iter().any(|(known, _)| *known == key);
                        prop_assert_eq!(store.take(now, &key).is_some(), known);
                        model.retain(|(known, _)| *known != key);
                    }
                    Step::Wait(seconds) => now += Duration::from_secs(seconds),
                }
                model.retain(|(_, expires)| *expires > now);
                prop_assert!(store.len() <= 4);
                for (key, _) in &model {
                    prop_assert!(store.get(now, key).is_some());
                }
            }
        }
    }
}
