//! Honest bodies and malformed ones, in whatever pieces they come.

use super::*;
use proptest::prelude::*;

const HONEST: [&[u8]; 14] = [
    b"0\r\n\r\n",
    b"5\r\nhallo\r\n0\r\n\r\n",
    b"5\r\nhallo\r\n5\r\nhallo\r\n0\r\n\r\n",
    b"a\r\n0123456789\r\n0\r\n\r\n",
    b"A\r\n0123456789\r\n0\r\n\r\n",
    b"2\r\n\r\n\r\n0\r\n\r\n",
    b"5;a\r\nhallo\r\n0;a\r\n\r\n",
    b"5;a=b\r\nhallo\r\n0\r\n\r\n",
    b"5;a=b;c=\"d;\\\"e\xe4\t\";f\r\nhallo\r\n0\r\n\r\n",
    b"5; a = b ; c\r\nhallo\r\n0\r\n\r\n",
    b"0\r\nX-Sum: abc\r\n\r\n",
    b"0\r\nX-Sum:\r\nX: \xe4 b\t\r\n\r\n",
    b"5\r\nhallo\r\n0;last\r\nX-Sum: abc\r\n\r\n",
    b"11\r\n0\r\n\r\nGET / HTTP/1\r\n0\r\n\r\n",
];

const MALFORMED: [&[u8]; 70] = [
    // Sizes.
    b"\r\n",
    b"\r\n5\r\nhallo\r\n0\r\n\r\n",
    b";a=b\r\nhallo\r\n0\r\n\r\n",
    b"x\r\n",
    b"+5\r\nhallo\r\n0\r\n\r\n",
    b"-5\r\nhallo\r\n0\r\n\r\n",
    b"0x5\r\nhallo\r\n0\r\n\r\n",
    b"0X5\r\n",
    b"05\r\nhallo\r\n0\r\n\r\n",
    b"0005\r\nhallo\r\n0\r\n\r\n",
    b"00\r\n\r\n",
    b"5\r\nhallo\r\n000\r\n\r\n",
    b" 5\r\nhallo\r\n0\r\n\r\n",
    b"5 \r\nhallo\r\n0\r\n\r\n",
    b"5\t\r\nhallo\r\n0\r\n\r\n",
    b"5 ;a=b\r\nhallo\r\n0\r\n\r\n",
    b"5\x0b\r\n",
    b"5,\r\n",
    b"5_0\r\n",
    b"5h\r\n",
    b"5.0\r\n",
    b"\x005\r\n",
    b"5\0\r\n",
    b"\xef\xbc\x95\r\n",
    b"1000000000000000\r\n",
    b"10000000000000000000000000000005\r\n",
    b"fffffffffffffffff\r\n",
    // Line ends.
    b"5\nhallo\r\n0\r\n\r\n",
    b"5\rhallo\r\n0\r\n\r\n",
    b"5\r\r\nhallo\r\n0\r\n\r\n",
    b"5\n\r\nhallo\r\n",
    b"0\n\r\n",
    b"0\r\n\n",
    b"0\n\n",
    b"0\r\r",
    b"0\r\n\r\r",
    b"5\r\nhallo\n0\r\n\r\n",
    b"5\r\nhallo\r0\r\n\r\n",
    b"5\r\nhallo0\r\n\r\n",
    b"5\r\nhallox\r\n0\r\n\r\n",
    b"5\r\nhallo\r\n\r\n0\r\n\r\n",
    b"5\r\nhallo  \r\n0\r\n\r\n",
    // Extensions.
    b"5;a\nb\r\nhallo\r\n0\r\n\r\n",
    b"5;\nhallo\r\n0\r\n\r\n",
    b"5;a=b\nX\r\nhallo\r\n0\r\n\r\n",
    b"5;a\rb\r\nhallo\r\n",
    b"5;a\0b\r\nhallo\r\n",
    b"5;a\x01\r\n",
    b"5;a\x7f\r\n",
    b"5;\r\nhallo\r\n0\r\n\r\n",
    b"5;;a\r\n",
    b"5;a=\r\n",
    b"5;a==b\r\n",
    b"5;a=b \r\n",
    b"5;a \r\n",
    b"5;a b\r\n",
    b"5;a=\"b\r\n0\r\n\r\n",
    b"5;a=\"b\nc\"\r\n",
    b"5;a=\"b\"c\r\n",
    b"5;a=\"\\\n\"\r\n",
    b"5;\xe4=b\r\n",
    b"0;\n\r\n\r\n",
    // Trailers.
    b"0\r\nX\r\n\r\n",
    b"0\r\n: x\r\n\r\n",
    b"0\r\nX : y\r\n\r\n",
    b"0\r\n X: y\r\n\r\n",
    b"0\r\nX: y\nZ: x\r\n\r\n",
    b"0\r\nX: y\r\n folded\r\n\r\n",
    b"0\r\nX: \0\r\n\r\n",
    b"0\r\nGET / HTTP/1.1\r\n\r\n",
];

fn after(pieces: &[&[u8]]) -> Result<Chunks, MalformedChunks> {
    let mut chunks = Chunks::new();
    pieces.iter().try_for_each(|piece| chunks.follow(piece))?;
    Ok(chunks)
}

fn is_whole(chunks: Result<Chunks, MalformedChunks>) -> bool {
    chunks.is_ok_and(|chunks| chunks.place == ChunkPosition::End)
}

#[test]
fn honest_bodies_are_followed_to_their_end_however_they_are_cut() {
    for body in HONEST {
        for at in 0..=body.len() {
            let (first, second) = body.split_at(at);
            assert!(
                is_whole(after(&[first, second])),
                "{} at {at}",
                body.escape_ascii()
            );
            assert!(
                at == body.len() || !is_whole(after(&[first])),
                "{} at {at}",
                body.escape_ascii()
            );
        }
        assert!(
            is_whole(after(&body.chunks(1).collect::<Vec<_>>())),
            "{}",
            body.escape_ascii()
        );
        assert!(
            is_whole(after(&[body, b"GET / HTTP/1.1\r\n\r\n"])),
            "what follows is another request"
        );
    }
}

#[test]
fn malformed_bodies_are_found_however_they_are_cut() {
    for body in MALFORMED {
        for at in 0..=body.len() {
            let (first, second) = body.split_at(at);
            assert_eq!(
                after(&[first, second]),
                Err(MalformedChunks),
                "{} at {at}",
                body.escape_ascii()
            );
        }
        assert_eq!(
            after(&body.chunks(1).collect::<Vec<_>>()),
            Err(MalformedChunks),
            "{}",
            body.escape_ascii()
        );
    }
}

#[test]
fn lines_and_trailers_are_not_endless() {
    let line = |length: usize| {
        [
            b"5;",
            "a".repeat(length).as_bytes(),
            b"\r\nhallo\r\n0\r\n\r\n",
        ]
        .concat()
    };
    assert!(is_whole(after(&[&line(LONGEST_LINE - 4)])));
    assert_eq!(after(&[&line(LONGEST_LINE)]), Err(MalformedChunks));
    let trailers =
        |number: usize| [b"0\r\n", "X: y\r\n".repeat(number).as_bytes(), b"\r\n"].concat();
    assert!(is_whole(after(&[&trailers(10_000)])));
    assert_eq!(after(&[&trailers(11_000)]), Err(MalformedChunks));
}

#[test]
fn a_large_chunk_is_passed_over_and_its_end_is_found() {
    let mut chunks = after(&[b"100000\r\n"]).expect("a size");
    assert_eq!(chunks.follow(&vec![b'\n'; 1 << 20]), Ok(()));
    assert_eq!(chunks.place, ChunkPosition::ContentCr);
    assert!(chunks.clone().follow(b"\n").is_err() && chunks.follow(b"\r\n0\r\n\r\n").is_ok());
}

proptest! {
    /// Whatever was sent in chunks as libraries write them, and however it is cut, is honest.
    #[test]
    fn what_is_written_in_chunks_is_followed(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6),
        cuts in prop::collection::vec(1..90_usize, 1..60),
    ) {
        let mut body = Vec::new();
        for part in &parts {
            body.extend([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
        }
        body.extend(b"0\r\n\r\n");
        let (mut chunks, mut rest) = (Chunks::new(), &body[..]);
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            prop_assert_eq!(chunks.follow(now), Ok(()));
            rest = later;
            if rest.is_empty() { break; }
        }
        prop_assert_eq!(chunks.place, ChunkPosition::End);
    }

    #[test]
    fn any_bytes_give_the_same_in_one_piece_and_in_many(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let whole = after(&[&bytes]);
        prop_assert_eq!(whole, after(&bytes.chunks(1).collect::<Vec<_>>()));
    }
}
