//! Characters that some server may turn into ASCII, or drop.

/// Returns whether a server that normalizes its input (compatibility normalization, case, removal of invisible characters) may turn this
/// character into ASCII, or drop it.
pub fn may_become_ascii(symbol: char) -> bool {
    let after = RANGES.partition_point(|(first, _)| *first <= symbol);
    after
        .checked_sub(1)
        .and_then(|at| RANGES.get(at))
        .is_some_and(|(_, last)| symbol <= *last)
}

/// From Unicode 17: all characters above U+007F whose NFKC form, upper case, lower case or case folding contains an ASCII character, and
/// all of category Cc, Cf, Zs, Zl or Zp, variation selectors, tags and blank fillers. `ß` and its capital are excluded, since they occur
/// in honest German paths; comparisons treat them as `ss`.
#[rustfmt::skip]
const RANGES: [(char, char); 164] = [
    ('\u{80}', '\u{a0}'), ('\u{a8}', '\u{a8}'), ('\u{aa}', '\u{aa}'), ('\u{ad}', '\u{ad}'), ('\u{af}', '\u{af}'),
    ('\u{b2}', '\u{b4}'), ('\u{b8}', '\u{ba}'), ('\u{bc}', '\u{be}'), ('\u{130}', '\u{133}'), ('\u{13f}', '\u{140}'),
    ('\u{149}', '\u{149}'), ('\u{17f}', '\u{17f}'), ('\u{1c4}', '\u{1cc}'), ('\u{1f0}', '\u{1f3}'), ('\u{2b0}', '\u{2b0}'),
    ('\u{2b2}', '\u{2b3}'), ('\u{2b7}', '\u{2b8}'), ('\u{2d8}', '\u{2dd}'), ('\u{2e1}', '\u{2e3}'), ('\u{34f}', '\u{34f}'),
    ('\u{37a}', '\u{37a}'), ('\u{37e}', '\u{37e}'), ('\u{384}', '\u{385}'), ('\u{600}', '\u{605}'), ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'), ('\u{70f}', '\u{70f}'), ('\u{890}', '\u{891}'), ('\u{8e2}', '\u{8e2}'), ('\u{115f}', '\u{1160}'),
    ('\u{1680}', '\u{1680}'), ('\u{17b4}', '\u{17b5}'), ('\u{180b}', '\u{180f}'), ('\u{1d2c}', '\u{1d2c}'),
    ('\u{1d2e}', '\u{1d2e}'), ('\u{1d30}', '\u{1d31}'), ('\u{1d33}', '\u{1d3a}'), ('\u{1d3c}', '\u{1d3c}'),
    ('\u{1d3e}', '\u{1d43}'), ('\u{1d47}', '\u{1d49}'), ('\u{1d4d}', '\u{1d4d}'), ('\u{1d4f}', '\u{1d50}'),
    ('\u{1d52}', '\u{1d52}'), ('\u{1d56}', '\u{1d58}'), ('\u{1d5b}', '\u{1d5b}'), ('\u{1d62}', '\u{1d65}'),
    ('\u{1d9c}', '\u{1d9c}'), ('\u{1da0}', '\u{1da0}'), ('\u{1dbb}', '\u{1dbb}'), ('\u{1e96}', '\u{1e9a}'),
    ('\u{1fbd}', '\u{1fbd}'), ('\u{1fbf}', '\u{1fc1}'), ('\u{1fcd}', '\u{1fcf}'), ('\u{1fdd}', '\u{1fdf}'),
    ('\u{1fed}', '\u{1fef}'), ('\u{1ffd}', '\u{1ffe}'), ('\u{2000}', '\u{200f}'), ('\u{2017}', '\u{2017}'),
    ('\u{2024}', '\u{2026}'), ('\u{2028}', '\u{202f}'), ('\u{203c}', '\u{203c}'), ('\u{203e}', '\u{203e}'),
    ('\u{2047}', '\u{2049}'), ('\u{205f}', '\u{2064}'), ('\u{2066}', '\u{2071}'), ('\u{2074}', '\u{207a}'),
    ('\u{207c}', '\u{208a}'), ('\u{208c}', '\u{208e}'), ('\u{2090}', '\u{2093}'), ('\u{2095}', '\u{209f}'),
    ('\u{20a8}', '\u{20a8}'), ('\u{2100}', '\u{2103}'), ('\u{2105}', '\u{2106}'), ('\u{2109}', '\u{210e}'),
    ('\u{2110}', '\u{2113}'), ('\u{2115}', '\u{2116}'), ('\u{2119}', '\u{211d}'), ('\u{2120}', '\u{2122}'),
    ('\u{2124}', '\u{2124}'), ('\u{2128}', '\u{2128}'), ('\u{212a}', '\u{212a}'), ('\u{212c}', '\u{212d}'),
    ('\u{212f}', '\u{2131}'), ('\u{2133}', '\u{2134}'), ('\u{2139}', '\u{2139}'), ('\u{213b}', '\u{213b}'),
    ('\u{2145}', '\u{2149}'), ('\u{2150}', '\u{217f}'), ('\u{2189}', '\u{2189}'), ('\u{2460}', '\u{24ea}'),
    ('\u{2a74}', '\u{2a76}'), ('\u{2c7c}', '\u{2c7d}'), ('\u{3000}', '\u{3000}'), ('\u{309b}', '\u{309c}'),
    ('\u{3164}', '\u{3164}'), ('\u{3200}', '\u{321e}'), ('\u{3220}', '\u{3243}'), ('\u{3250}', '\u{325f}'),
    ('\u{32b1}', '\u{32cf}'), ('\u{3358}', '\u{337a}'), ('\u{3380}', '\u{33ff}'), ('\u{a7f1}', '\u{a7f4}'),
    ('\u{fb00}', '\u{fb06}'), ('\u{fb29}', '\u{fb29}'), ('\u{fc5e}', '\u{fc63}'), ('\u{fdfa}', '\u{fdfb}'),
    ('\u{fe00}', '\u{fe10}'), ('\u{fe13}', '\u{fe16}'), ('\u{fe19}', '\u{fe19}'), ('\u{fe30}', '\u{fe30}'),
    ('\u{fe33}', '\u{fe38}'), ('\u{fe47}', '\u{fe50}'), ('\u{fe52}', '\u{fe52}'), ('\u{fe54}', '\u{fe57}'),
    ('\u{fe59}', '\u{fe5c}'), ('\u{fe5f}', '\u{fe66}'), ('\u{fe68}', '\u{fe6b}'), ('\u{fe70}', '\u{fe70}'),
    ('\u{fe72}', '\u{fe72}'), ('\u{fe74}', '\u{fe74}'), ('\u{fe76}', '\u{fe76}'), ('\u{fe78}', '\u{fe78}'),
    ('\u{fe7a}', '\u{fe7a}'), ('\u{fe7c}', '\u{fe7c}'), ('\u{fe7e}', '\u{fe7e}'), ('\u{feff}', '\u{feff}'),
    ('\u{ff01}', '\u{ff5e}'), ('\u{ffa0}', '\u{ffa0}'), ('\u{ffe3}', '\u{ffe3}'), ('\u{fff9}', '\u{fffb}'),
    ('\u{107a5}', '\u{107a5}'), ('\u{110bd}', '\u{110bd}'), ('\u{110cd}', '\u{110cd}'), ('\u{13430}', '\u{13438}'),
    ('\u{1bca0}', '\u{1bca3}'), ('\u{1ccd6}', '\u{1ccf9}'), ('\u{1d173}', '\u{1d17a}'), ('\u{1d400}', '\u{1d454}'),
    ('\u{1d456}', '\u{1d49c}'), ('\u{1d49e}', '\u{1d49f}'), ('\u{1d4a2}', '\u{1d4a2}'), ('\u{1d4a5}', '\u{1d4a6}'),
    ('\u{1d4a9}', '\u{1d4ac}'), ('\u{1d4ae}', '\u{1d4b9}'), ('\u{1d4bb}', '\u{1d4bb}'), ('\u{1d4bd}', '\u{1d4c3}'),
    ('\u{1d4c5}', '\u{1d505}'), ('\u{1d507}', '\u{1d50a}'), ('\u{1d50d}', '\u{1d514}'), ('\u{1d516}', '\u{1d51c}'),
    ('\u{1d51e}', '\u{1d539}'), ('\u{1d53b}', '\u{1d53e}'), ('\u{1d540}', '\u{1d544}'), ('\u{1d546}', '\u{1d546}'),
    ('\u{1d54a}', '\u{1d550}'), ('\u{1d552}', '\u{1d6a3}'), ('\u{1d7ce}', '\u{1d7ff}'), ('\u{1f100}', '\u{1f10a}'),
    ('\u{1f110}', '\u{1f12e}'), ('\u{1f130}', '\u{1f14f}'), ('\u{1f16a}', '\u{1f16c}'), ('\u{1f190}', '\u{1f190}'),
    ('\u{1fbf0}', '\u{1fbf9}'), ('\u{e0000}', '\u{e0fff}'),
];

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_normalization::UnicodeNormalization;

    #[test]
    fn whatever_normalises_or_folds_to_ascii_is_in_the_table() {
        for symbol in ('\u{80}'..=char::MAX)
            .filter(|symbol| !may_become_ascii(*symbol) && !"ßẞ".contains(*symbol))
        {
            let forms = std::iter::once(symbol)
                .nfkc()
                .chain(symbol.to_uppercase())
                .chain(symbol.to_lowercase());
            assert!(
                forms.clone().all(|form| !form.is_ascii()),
                "U+{:04x}",
                symbol as u32
            );
        }
    }

    #[test]
    fn ordinary_letters_are_not() {
        for symbol in "äöüßÄÖÜéñøłčœ漢字ж".chars() {
            assert!(!may_become_ascii(symbol), "{symbol}");
        }
        for symbol in [
            '\u{17f}', '\u{212a}', '／', 'ａ', '\u{a0}', '\u{200b}', '\u{ad}', '…', '㏂',
        ] {
            assert!(may_become_ascii(symbol), "{symbol:?}");
        }
    }
}
