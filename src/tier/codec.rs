//! How a result is written for a shared tier, and read back.
//!
//! In: a parcel and the name it goes by. Out: bytes, and from bytes the parcel again, or why not.
//! It trusts no byte before the whole was proved to be what a node of this application wrote under this very name, and
//! allocates nothing whose size it has not held against what is there and what is allowed.
//!
//! | bytes | what they are |
//! |---|---|
//! | 4 | `LRD` and the version of the format |
//! | 1 | how it is sealed |
//! | 32 | with a checksum or a MAC: BLAKE3 of all that comes before and after it, and of the name |
//! | 4 + 12 | encrypted: which key, and the nonce; at the end 16 more that prove it, the name and what comes before it |
//! | rest | the header by postcard, then the rows, perhaps by lz4 |

use std::sync::Arc;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use serde::{Deserialize, Serialize};

/// What is kept of a result in a shared tier.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parcel {
    /// Of the versions.
    pub epoch: u128,
    /// Of the tables that it rests on, in an order that follows from the name.
    pub versions: Vec<u64>,
    /// Digest of the columns.
    pub shape: [u8; 32],
    /// When its query was begun, in milliseconds by the clock of the tier.
    pub begun: u64,
    /// How long that took, in microseconds.
    pub cost: u64,
    /// As [`Life::dice`](crate::entry::Life::dice).
    pub dice: f32,
    pub rows: usize,
    /// As [`Stored::bytes`](crate::entry::Stored::bytes).
    pub bytes: Arc<[u8]>,
}

/// Why bytes are no parcel. Each is a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it was not written by this software")]
    Foreign,
    #[error("it was written by another release")]
    OtherFormat,
    #[error("it is not sealed as this node demands")]
    OtherSeal,
    #[error("it was sealed with another key, under another name, or was damaged")]
    Unproved,
    #[error("it is larger than the largest result allowed")]
    TooLarge,
}

const MAGIC: &[u8; 3] = b"LRD";
/// To be raised with every change of what is written, that of the rows of any database included.
const FORMAT: u8 = 1;
const HEAD: usize = 5;
const DIGEST: usize = 32;
const KEY_ID: usize = 4;
const NONCE: usize = 12;
/// Rows smaller than this are not compressed: see docs/decisions/0015-entries-in-a-shared-tier.md.
const WORTH_COMPRESSING: usize = 2 << 10;

#[derive(Serialize, Deserialize)]
struct Header {
    epoch: u128,
    versions: Vec<u64>,
    shape: [u8; 32],
    begun: u64,
    cost: u64,
    dice: f32,
    rows: u64,
    /// Bytes of the rows before they were compressed; 0: they were not.
    length: u64,
}

/// What parcels are sealed with.
enum Seal {
    Checksum,
    Mac([u8; 32]),
    /// The first is written with.
    Encryption(Vec<(Aes256Gcm, [u8; KEY_ID])>),
}

/// Writes and reads parcels.
pub(crate) struct Codec {
    seal: Seal,
}

impl Codec {
    /// With a secret, parcels are signed; with keys, they are encrypted by the first and read by any.
    pub fn new(secret: Option<&[u8]>, keys: &[[u8; 32]]) -> Self {
        let seal = match (keys, secret) {
            ([], None) => Seal::Checksum,
            ([], Some(secret)) => Seal::Mac(blake3::derive_key("larder 2026 signature of an entry", secret)),
            (keys, secret) => {
                let cipher = |key: &[u8; 32]| {
                    // A secret that is set as well has to be known as well.
                    let material = [&key[..], secret.unwrap_or_default()].concat();
                    let id = blake3::derive_key("larder 2026 name of a key", &material);
                    let key = blake3::derive_key("larder 2026 encryption of an entry", &material);
                    (Aes256Gcm::new(&key.into()), std::array::from_fn(|at| id[at]))
                };
                Seal::Encryption(keys.iter().map(cipher).collect())
            }
        };
        Self { seal }
    }

    pub fn encode(&self, name: &[u8; 32], parcel: &Parcel) -> Vec<u8> {
        let packed = match parcel.bytes.len() {
            0..WORTH_COMPRESSING => None,
            length => Some(lz4_flex::block::compress(&parcel.bytes)).filter(|packed| packed.len() < length),
        };
        let header = Header {
            epoch: parcel.epoch,
            versions: parcel.versions.clone(),
            shape: parcel.shape,
            begun: parcel.begun,
            cost: parcel.cost,
            dice: parcel.dice,
            rows: parcel.rows as u64,
            length: packed.as_ref().map_or(0, |_| parcel.bytes.len() as u64),
        };
        let rows = packed.as_deref().unwrap_or(&parcel.bytes);
        let mut body = postcard::to_allocvec(&header).expect("a header is written to memory");
        body.extend_from_slice(rows);
        let head = [MAGIC[0], MAGIC[1], MAGIC[2], FORMAT, self.seal_id()];
        match &self.seal {
            Seal::Encryption(keys) => {
                let (cipher, id) = &keys[0];
                let nonce: [u8; NONCE] = random();
                let aad = [&head[..], id, name].concat();
                let sealed = cipher.encrypt(&Nonce::from(nonce), Payload { msg: &body, aad: &aad });
                [&head[..], id, &nonce, &sealed.expect("a result is shorter than AES-GCM can take")].concat()
            }
            Seal::Checksum | Seal::Mac(_) => [&head[..], self.digest(name, &head, &body).as_bytes(), &body].concat(),
        }
    }

    /// `most`: bytes of the largest result allowed.
    pub fn decode(&self, name: &[u8; 32], bytes: &[u8], most: usize) -> Result<Parcel, Unreadable> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(Unreadable::Foreign)?;
        match head {
            head if head[..3] != *MAGIC => return Err(Unreadable::Foreign),
            [.., format, _] if *format != FORMAT => return Err(Unreadable::OtherFormat),
            [.., seal] if *seal != self.seal_id() => return Err(Unreadable::OtherSeal),
            _ => {}
        }
        if rest.len() > most.saturating_add(Self::overhead(most)) {
            return Err(Unreadable::TooLarge);
        }
        match &self.seal {
            Seal::Encryption(keys) => {
                let (id, rest) = rest.split_first_chunk::<KEY_ID>().ok_or(Unreadable::Unproved)?;
                let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(Unreadable::Unproved)?;
                let (cipher, _) = keys.iter().find(|(_, known)| known == id).ok_or(Unreadable::OtherSeal)?;
                let aad = [&head[..], id, name].concat();
                let body = cipher.decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: &aad });
                open(&body.map_err(|_| Unreadable::Unproved)?, most)
            }
            Seal::Checksum | Seal::Mac(_) => {
                let (digest, body) = rest.split_first_chunk::<DIGEST>().ok_or(Unreadable::Unproved)?;
                // Equality of hashes takes the same time whatever they are.
                if self.digest(name, head, body) != *digest {
                    return Err(Unreadable::Unproved);
                }
                open(body, most)
            }
        }
    }

    /// Bytes that a parcel takes besides those of a result of `most` bytes, at most.
    pub fn overhead(most: usize) -> usize {
        // What cannot be compressed is not; the versions of some hundred tables; seal and header.
        most / 255 + (16 << 10)
    }

    fn seal_id(&self) -> u8 {
        match self.seal {
            Seal::Checksum => 0,
            Seal::Mac(_) => 1,
            Seal::Encryption(_) => 2,
        }
    }

    fn digest(&self, name: &[u8; 32], head: &[u8; HEAD], body: &[u8]) -> blake3::Hash {
        let mut hasher = match &self.seal {
            Seal::Mac(key) => blake3::Hasher::new_keyed(key),
            _ => blake3::Hasher::new(),
        };
        hasher.update(head).update(name).update(body).finalize()
    }
}

/// What was proved to be a body.
fn open(body: &[u8], most: usize) -> Result<Parcel, Unreadable> {
    let (header, rows) = postcard::take_from_bytes::<Header>(body).map_err(|_| Unreadable::Unproved)?;
    let bytes: Arc<[u8]> = match usize::try_from(header.length).map_err(|_| Unreadable::TooLarge)? {
        0 if rows.len() > most => return Err(Unreadable::TooLarge),
        0 => rows.into(),
        length if length > most => return Err(Unreadable::TooLarge),
        length => {
            let unpacked = lz4_flex::block::decompress(rows, length).map_err(|_| Unreadable::Unproved)?;
            if unpacked.len() != length {
                return Err(Unreadable::Unproved);
            }
            unpacked.into()
        }
    };
    Ok(Parcel {
        epoch: header.epoch,
        versions: header.versions,
        shape: header.shape,
        begun: header.begun,
        cost: header.cost,
        dice: header.dice,
        rows: usize::try_from(header.rows).map_err(|_| Unreadable::TooLarge)?,
        bytes,
    })
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

/// Without secrets.
impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec").field("seal", &self.seal_id()).finish()
    }
}

#[cfg(test)]
mod tests;
