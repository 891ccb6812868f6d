use proptest::prelude::*;

use super::*;

const NAME: [u8; 32] = [7; 32];
const MOST: usize = 1 << 20;

fn parcel(bytes: impl Into<Arc<[u8]>>) -> Parcel {
    Parcel {
        epoch: u128::MAX - 5,
        versions: vec![0, 1, u64::MAX],
        shape: [3; 32],
        begun: 1_790_000_000_000,
        cost: 1_234,
        dice: 0.25,
        rows: 2,
        bytes: bytes.into(),
    }
}

fn codecs() -> [Codec; 4] {
    let secret = Some(&b"secret"[..]);
    [
        Codec::new(None, &[]),
        Codec::new(secret, &[]),
        Codec::new(None, &[[1; 32]]),
        Codec::new(secret, &[[1; 32], [2; 32]]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        bytes in proptest::collection::vec(any::<u8>(), 0..6_000),
        repeat in 1_usize..4,
        versions in proptest::collection::vec(any::<u64>(), 0..20),
        name in any::<[u8; 32]>(),
        epoch in any::<u128>(),
        rows in any::<u32>(),
    ) {
        let parcel = Parcel { epoch, versions, rows: rows as usize, ..parcel(bytes.repeat(repeat)) };
        for codec in codecs() {
            prop_assert_eq!(codec.decode(&name, &codec.encode(&name, &parcel), MOST), Ok(parcel.clone()));
        }
    }

    #[test]
    fn anything_else_is_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        for codec in codecs() {
            prop_assert!(codec.decode(&NAME, &bytes, MOST).is_err());
            let headed = [&codec.encode(&NAME, &parcel(*b"rows"))[..HEAD], &bytes].concat();
            prop_assert!(codec.decode(&NAME, &headed, MOST).is_err());
            let mut changed = codec.encode(&NAME, &parcel(*b"some rows"));
            let at = at.index(changed.len());
            prop_assume!(changed[at] != with);
            changed[at] = with;
            prop_assert!(codec.decode(&NAME, &changed, MOST).is_err());
        }
    }
}

#[test]
fn every_bit_and_every_end_counts() {
    for codec in codecs() {
        let bytes = codec.encode(&NAME, &parcel(*b"rows"));
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(codec.decode(&NAME, &flipped, MOST).is_err(), "bit {at}");
        }
        for end in 0..bytes.len() {
            assert!(codec.decode(&NAME, &bytes[..end], MOST).is_err(), "cut at {end}");
        }
        assert!(codec.decode(&NAME, &[&bytes[..], b"x"].concat(), MOST).is_err());
    }
}

#[test]
fn another_name_is_another_entry() {
    for codec in codecs() {
        assert_eq!(codec.decode(&[8; 32], &codec.encode(&NAME, &parcel(*b"rows")), MOST), Err(Unreadable::Unproved));
    }
}

#[test]
fn nobody_reads_what_is_sealed_otherwise() {
    for (at, one) in codecs().iter().enumerate() {
        for (other_at, other) in codecs().iter().enumerate().filter(|(other, _)| *other != at) {
            let read = other.decode(&NAME, &one.encode(&NAME, &parcel(*b"rows")), MOST);
            assert!(matches!(read, Err(Unreadable::OtherSeal)), "{at} by {other_at}: {read:?}");
        }
    }
    let (one, other) = (Codec::new(Some(b"one"), &[]), Codec::new(Some(b"other"), &[]));
    assert_eq!(other.decode(&NAME, &one.encode(&NAME, &parcel(*b"rows")), MOST), Err(Unreadable::Unproved));
}

#[test]
fn keys_can_be_changed_while_nodes_run() {
    let (old, new) = ([1; 32], [2; 32]);
    let (before, between, after) = (Codec::new(None, &[old]), Codec::new(None, &[new, old]), Codec::new(None, &[new]));
    let (by_old, by_new) = (before.encode(&NAME, &parcel(*b"rows")), between.encode(&NAME, &parcel(*b"rows")));
    assert!(between.decode(&NAME, &by_old, MOST).is_ok() && between.decode(&NAME, &by_new, MOST).is_ok());
    assert_eq!(after.decode(&NAME, &by_old, MOST), Err(Unreadable::OtherSeal));
    assert!(after.decode(&NAME, &by_new, MOST).is_ok());
}

#[test]
fn encryption_hides_what_is_in_it() {
    let codec = &codecs()[2];
    let (one, other) = (codec.encode(&NAME, &parcel(*b"plain text")), codec.encode(&NAME, &parcel(*b"plain text")));
    assert!(!one.windows(10).any(|window| window == b"plain text"));
    assert_ne!(one, other, "a nonce is never used twice");
}

#[test]
fn large_results_are_compressed_if_that_helps() {
    let text = b"2026-11-26 10:00:00 a row like all the others ".repeat(200);
    let noise: Vec<u8> = blake3::Hasher::new().finalize_xof().fill_to_vec(10_000);
    for codec in codecs() {
        assert!(codec.encode(&NAME, &parcel(text.clone())).len() < text.len() / 4);
        assert!(codec.encode(&NAME, &parcel(noise.clone())).len() < noise.len() + 200);
    }
}

trait FillToVec {
    fn fill_to_vec(self, length: usize) -> Vec<u8>;
}

impl FillToVec for blake3::OutputReader {
    fn fill_to_vec(mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }
}

#[test]
fn nothing_larger_than_allowed_is_unpacked() {
    for codec in codecs() {
        let bytes = codec.encode(&NAME, &parcel(vec![0; 100_000]));
        assert!(bytes.len() < 1_000);
        assert_eq!(codec.decode(&NAME, &bytes, 99_999), Err(Unreadable::TooLarge));
        assert!(codec.decode(&NAME, &bytes, 100_000).is_ok());
        let noise = blake3::Hasher::new().finalize_xof().fill_to_vec(100_000);
        assert_eq!(codec.decode(&NAME, &codec.encode(&NAME, &parcel(noise)), 50_000), Err(Unreadable::TooLarge));
    }
}

/// A change of what is written needs another version of the format: nodes of two releases run side by side.
#[test]
fn the_format_is_as_it_was() {
    let bytes = Codec::new(None, &[]).encode(&NAME, &parcel(*b"rows"));
    assert_eq!(blake3::hash(&bytes).to_hex()[..16], *"aa32030c46dee0a7");
    let other = [&bytes[..3], &[FORMAT + 1], &bytes[4..]].concat();
    assert_eq!(Codec::new(None, &[]).decode(&NAME, &other, MOST), Err(Unreadable::OtherFormat));
}
