package sample;

import com.google.common.base.Joiner;
import org.apache.commons.lang3.StringUtils;

public final class Sample {
    private Sample() {
    }

    public static void main(String[] words) {
        System.out.println(StringUtils.capitalize(Joiner.on(' ').join(words)));
    }
}
