//! Finds where one WebSocket frame ends and the next begins (RFC 6455, 5.2).

/// `\r\n\r\n` ends a header.
const END_OF_HEADER: [u8; 4] = *b"\r\n\r\n";
/// How far into `HTTP/1.1 101` the status is known.
const STATUS_LINE: usize = 12;
/// The longest header of a frame: two bytes, eight for a length, four for a mask.
const LONGEST: usize = 14;
const CLOSE: u8 = 8;
/// Opcodes from here on are control frames: close, ping, pong.
const FIRST_CONTROL: u8 = 8;

/// Follows the frames of one direction.
#[derive(Debug)]
pub(crate) struct Frames {
    state: FrameState,
    farewell_said: bool,
    data_seen: bool,
}

#[derive(Debug)]
enum FrameState {
    /// Within the header of an answer; those before 101 (103 perhaps) are followed by another.
    Answer {
        line: [u8; STATUS_LINE],
        read: usize,
        ending: usize,
    },
    /// Before or within the header of a frame.
    Header { bytes: [u8; LONGEST], read: usize },
    /// Within the content of a frame.
    Content { left: u64 },
}

impl FrameState {
    const ANSWER: Self = Self::Answer {
        line: [0; STATUS_LINE],
        read: 0,
        ending: 0,
    };
    const BOUNDARY: Self = Self::Header {
        bytes: [0; LONGEST],
        read: 0,
    };
}

impl Frames {
    /// Follows the bytes to the client, from the header of the answer 101 on.
    pub(crate) const fn to_client() -> Self {
        Self {
            state: FrameState::ANSWER,
            farewell_said: false,
            data_seen: false,
        }
    }

    /// Follows the bytes of the client, after its handshake.
    pub(crate) const fn of_client() -> Self {
        Self {
            state: FrameState::BOUNDARY,
            farewell_said: false,
            data_seen: false,
        }
    }

    /// Returns whether a frame with data began since the last call; control frames have none.
    pub(crate) const fn take_data(&mut self) -> bool {
        std::mem::replace(&mut self.data_seen, false)
    }

    /// Whether a frame of our own may come next.
    pub(crate) const fn at_boundary(&self) -> bool {
        matches!(self.state, FrameState::Header { read: 0, .. })
    }

    /// Whether the calculator has sent its close frame, after which no other may come.
    pub(crate) const fn farewell_said(&self) -> bool {
        self.farewell_said
    }

    /// How many more bytes may go before this has to be looked at again: never beyond the end of the frame.
    pub(crate) fn left(&self) -> u64 {
        match &self.state {
            FrameState::Answer { .. } => 1,
            FrameState::Header { bytes, read } => (header_length(bytes, *read) - read) as u64,
            FrameState::Content { left } => *left,
        }
    }

    /// Follows bytes that went to the client.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let part = usize::try_from(self.left())
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            let (now, later) = bytes.split_at(part);
            self.advance(now);
            bytes = later;
        }
    }

    fn advance(&mut self, part: &[u8]) {
        match &mut self.state {
            FrameState::Answer { line, read, ending } => {
                for byte in part {
                    if let Some(place) = line.get_mut(*read) {
                        *place = *byte;
                    }
                    *read += 1;
                    *ending = if END_OF_HEADER.get(*ending) == Some(byte) {
                        *ending + 1
                    } else {
                        usize::from(*byte == b'\r')
                    };
                }
                if *ending == END_OF_HEADER.len() {
                    self.state = if line.ends_with(b" 101") {
                        FrameState::BOUNDARY
                    } else {
                        FrameState::ANSWER
                    };
                }
            }
            FrameState::Header { bytes, read } => {
                for byte in part {
                    if let Some(place) = bytes.get_mut(*read) {
                        *place = *byte;
                    }
                    *read += 1;
                }
                if *read == header_length(bytes, *read) {
                    let [first, ..] = *bytes;
                    self.farewell_said |= first & 0x0f == CLOSE;
                    self.data_seen |= first & 0x0f < FIRST_CONTROL;
                    let left = content(bytes);
                    self.enter(left);
                }
            }
            FrameState::Content { left } => {
                let left = *left - part.len() as u64;
                self.enter(left);
            }
        }
    }

    fn enter(&mut self, left: u64) {
        self.state = if left == 0 {
            FrameState::BOUNDARY
        } else {
            FrameState::Content { left }
        };
    }
}

/// How long a frame's header is, as far as the bytes read say.
fn header_length(bytes: &[u8; LONGEST], read: usize) -> usize {
    let [_, second, ..] = bytes;
    if read < 2 {
        return 2;
    }
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 == 0 { 0 } else { 4 }
}

fn content(bytes: &[u8; LONGEST]) -> u64 {
    let [_, second, a, b, c, d, e, f, g, h, ..] = *bytes;
    match second & 0x7f {
        126 => u64::from(u16::from_be_bytes([a, b])),
        127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        short => u64::from(short),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    fn after(bytes: &[u8]) -> Frames {
        let mut frames = Frames::to_client();
        frames.follow(bytes);
        frames
    }

    fn frame(opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let mask = u8::from(masked) << 7;
        let mut frame = vec![0x80 | opcode];
        match length {
            0..=125 => frame.push(mask | length as u8),
            126..=0xffff => {
                frame.extend([&[mask | 126][..], &(length as u16).to_be_bytes()].concat())
            }
            _ => frame.extend([&[mask | 127][..], &(length as u64).to_be_bytes()].concat()),
        }
        frame.extend(vec![7; length + if masked { 4 } else { 0 }]);
        // A mask belongs to the header.
        frame
    }

    #[test]
    fn a_frame_of_ours_may_come_after_the_answer_and_not_within_it() {
        for end in 0..ANSWER.len() {
            assert!(!after(&ANSWER[..end]).at_boundary(), "{end}");
        }
        assert!(after(ANSWER).at_boundary());
    }

    #[test]
    fn an_answer_before_the_one_that_switches_is_not_taken_for_it() {
        let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        assert!(!after(hints).at_boundary());
        assert!(after(&[&hints[..], ANSWER].concat()).at_boundary());
    }

    #[test]
    fn lengths_of_every_size_are_read_right() {
        for length in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, 0x1_0001] {
            for masked in [false, true] {
                let whole = [ANSWER, &frame(2, masked, length)].concat();
                let mut frames = after(&whole[..whole.len() - 1]);
                assert!(
                    !frames.at_boundary() && frames.left() == 1,
                    "{length} {masked}"
                );
                frames.follow(&whole[whole.len() - 1..]);
                assert!(frames.at_boundary(), "{length} {masked}");
            }
        }
    }

    #[test]
    fn data_is_told_from_control_frames_and_once() {
        let mut frames = Frames::of_client();
        for control in [CLOSE, 9, 10] {
            frames.follow(&frame(control, true, 4));
            assert!(!frames.take_data(), "{control}");
        }
        for data in [0, 1, 2] {
            let whole = frame(data, true, 300);
            for byte in &whole {
                frames.follow(std::slice::from_ref(byte));
            }
            assert!(frames.take_data() && !frames.take_data(), "{data}");
        }
    }

    #[test]
    fn the_calculators_own_close_frame_is_noticed() {
        assert!(!after(&[ANSWER, &frame(9, false, 4)].concat()).farewell_said());
        assert!(after(&[ANSWER, &frame(CLOSE, false, 2)].concat()).farewell_said());
    }

    proptest! {
        /// However the bytes are cut, and whatever was sent: the same boundaries.
        #[test]
        fn boundaries_do_not_depend_on_how_the_bytes_come(
            lengths in prop::collection::vec((any::<bool>(), 0..70_000_usize), 1..5),
            cuts in prop::collection::vec(1..9_000_usize, 1..200),
        ) {
            let (mut bytes, mut boundaries) = (ANSWER.to_vec(), vec![ANSWER.len()]);
            for (masked, length) in lengths {
                bytes.extend(frame(1, masked, length));
                boundaries.push(bytes.len());
            }
            let (mut frames, mut at) = (Frames::to_client(), 0);
            for cut in cuts {
                let end = (at + cut).min(bytes.len());
                frames.follow(&bytes[at..end]);
                at = end;
                prop_assert_eq!(frames.at_boundary(), boundaries.contains(&at));
                if at >= ANSWER.len() {
                    let next = boundaries.iter().find(|boundary| **boundary > at);
                    prop_assert!(frames.at_boundary() || next.is_some_and(|next| frames.left() <= (next - at) as u64));
                }
            }
        }

        /// Nonsense, whatever it is, is followed without end or fall.
        #[test]
        fn any_bytes_can_be_followed(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let frames = after(&[ANSWER, &bytes].concat());
            prop_assert!(frames.left() > 0);
        }
    }
}
