//! What mails say, in each language.

use crate::failure::Code;

pub struct Words {
    pub one_failed: &'static str,
    pub many_failed: &'static str,
    pub greeting: &'static str,
    pub job: &'static str,
    pub queue: &'static str,
    pub more: &'static str,
    /// In the order of [`Code::ALL`]; none where the failure's own words are in this language.
    codes: Option<[&'static str; 19]>,
}

impl Words {
    /// What has happened, in a sentence; none: the failure's own words say it.
    pub fn says(&self, code: Code) -> Option<&'static str> {
        let at = Code::ALL.iter().position(|c| *c == code)?;
        self.codes.as_ref().map(|codes| codes[at])
    }
}

/// The words of `ru`, `zh-Hans-CN`, `tr_TR` ...
pub fn of(locale: &str) -> Option<&'static Words> {
    match locale.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "en" => Some(&ENGLISH),
        "ru" => Some(&RUSSIAN),
        "zh" => Some(&CHINESE),
        "tr" => Some(&TURKISH),
        _ => None,
    }
}

pub static ENGLISH: Words = Words {
    one_failed: "The conversion of {name} failed",
    many_failed: "{n} conversions failed",
    greeting: "These files could not be converted:",
    job: "Job",
    queue: "queue",
    more: "... and {n} more.",
    codes: None,
};

static RUSSIAN: Words = Words {
    one_failed: "Не удалось преобразовать {name}",
    many_failed: "Не удалось преобразовать файлов: {n}",
    greeting: "Эти файлы не удалось преобразовать:",
    job: "Задание",
    queue: "очередь",
    more: "... и ещё {n}.",
    codes: Some([
        "Файл повреждён.",
        "Формат файла не поддерживается.",
        "Такое преобразование не поддерживается.",
        "Неверный параметр.",
        "Файл защищён паролем.",
        "Неверный пароль.",
        "Превышено допустимое ограничение.",
        "Преобразование длилось слишком долго.",
        "Преобразование длилось слишком долго и было прервано.",
        "Не хватило памяти.",
        "Файл попытался сделать запрещённое.",
        "Инструмент преобразования сообщил об ошибке.",
        "Преобразование аварийно завершилось.",
        "Рабочий процесс перестал отвечать.",
        "Задание отменено.",
        "Исходный файл недоступен.",
        "Не выполнено задание, от которого зависит это.",
        "Задание не началось до истечения срока.",
        "Произошла внутренняя ошибка.",
    ]),
};

static CHINESE: Words = Words {
    one_failed: "{name} 转换失败",
    many_failed: "{n} 个文件转换失败",
    greeting: "以下文件无法转换：",
    job: "任务",
    queue: "队列",
    more: "……以及另外 {n} 个。",
    codes: Some([
        "文件已损坏。",
        "不支持此文件格式。",
        "不支持此转换。",
        "选项无效。",
        "文件受密码保护。",
        "密码错误。",
        "超出允许的限制。",
        "转换耗时过长。",
        "转换耗时过长，已被终止。",
        "内存不足。",
        "文件尝试了被禁止的操作。",
        "转换工具报告了错误。",
        "转换程序崩溃。",
        "工作进程停止响应。",
        "任务已取消。",
        "源文件不可用。",
        "所依赖的任务失败。",
        "任务在截止时间前未开始。",
        "发生内部错误。",
    ]),
};

static TURKISH: Words = Words {
    one_failed: "{name} dönüştürülemedi",
    many_failed: "{n} dosya dönüştürülemedi",
    greeting: "Şu dosyalar dönüştürülemedi:",
    job: "İş",
    queue: "kuyruk",
    more: "... ve {n} tane daha.",
    codes: Some([
        "Dosya bozuk.",
        "Bu dosya biçimi desteklenmiyor.",
        "Bu dönüştürme desteklenmiyor.",
        "Geçersiz seçenek.",
        "Dosya parola korumalı.",
        "Parola yanlış.",
        "İzin verilen sınır aşıldı.",
        "Dönüştürme çok uzun sürdü.",
        "Dönüştürme çok uzun sürdü ve durduruldu.",
        "Bellek yetmedi.",
        "Dosya yasak bir işlem yapmaya çalıştı.",
        "Dönüştürme aracı hata bildirdi.",
        "Dönüştürme çöktü.",
        "Çalışan süreç yanıt vermeyi bıraktı.",
        "İş iptal edildi.",
        "Kaynak dosyaya erişilemiyor.",
        "Bu işin beklediği iş başarısız oldu.",
        "İş süresi dolmadan başlamadı.",
        "Bir iç hata oluştu.",
    ]),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_its_words() {
        for locale in ["en", "ru", "zh-Hans-CN", "tr_TR", "RU"] {
            let words = of(locale).unwrap();
            assert!(words.one_failed.contains("{name}") && words.many_failed.contains("{n}") && words.more.contains("{n}"), "{locale}");
        }
        assert!(of("de").is_none() && of("").is_none());
        assert_eq!(of("ru").unwrap().says(Code::WrongPassword), Some("Неверный пароль."));
        assert_eq!(of("tr").unwrap().says(Code::Internal), Some("Bir iç hata oluştu."));
        assert_eq!(ENGLISH.says(Code::Internal), None);
    }
}
