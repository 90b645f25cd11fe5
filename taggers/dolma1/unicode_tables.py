"""What Dolma 1.2.1 takes each code point for, as runs; made by `tests/goldens/make_unicode_tables.py`.

Each table is read by `dolma.kernels.code_points`. Derived from the Unicode Character Database, (c) Unicode, Inc., under
the Unicode License v3: `LICENCE-unicode.txt`. No maintained library with wheels offers Word_Break for a Unicode version
of one's choice at import; tables made at run time from `regex` or `uniseg` would change answers with their versions.
"""

from __future__ import annotations

WORD, OTHER = 1, 2
"""Classes of `TOKENS`; 0 is whitespace."""

LETTER, NUMBER, ISOLATED, SPACE = 1, 2, 3, 4
"""Classes of `PRETOKENS`; 0 is everything else."""

(
    CR,
    LF,
    NEWLINE,
    ALETTER,
    HEBREW_LETTER,
    NUMERIC,
    KATAKANA,
    EXTEND_NUM_LET,
    MID_LETTER,
    MID_NUM,
    MID_NUM_LET,
    SINGLE_QUOTE,
    DOUBLE_QUOTE,
    EXTEND,
    FORMAT,
    ZWJ,
    W_SEG_SPACE,
    REGIONAL_INDICATOR,
) = range(1, 19)
"""Classes of `WORD_BREAK`, the property of that name (UAX #29); 0 is Other."""

PICTOGRAPHIC = 32
"""Added to a class of `WORD_BREAK`: Extended_Pictographic."""


TOKENS = (
    "c-n<mO^B3r7@y~PKW65gkDZxaXU5%~opD>&U0p3TSJ%YcL`AJUm}MP`4jNR1P@TG%ge7G}goh%72%#XblX$a(21R6tymXPEE`@aH6cPQN-}}tF"
    "vtkANpXdMae1E=M)F{_b$qi{Dc^#EdMFcRx-6&QOXY6?&X$x;%tgi!Hl%=W>h>Sp_t}g>B{z9H(-Ur-^j$j?edeaV{+s`zyW1R(1a9i(~>MOw8"
    "816&qXbGYZV1FF<1w1E!!$hm;eSpWH$vjm|$u~$t$8k2gHZJne@*v==k`bqjOx-3COn3lcsztvKr9iulV}x^=eh>;Uvtqt2(Pz>Lj3#{#z*nF^"
    ">Xy9Lq(u6nyJwI-a{U4>yBeZSi4=(w+(GX?U0?42Mn?mBCzM;`IfgFABLvjU;Q^QFSq5E{;i!kP3LZ7BxO~fj8s&-O<vn2i@GJ2{>bgXeWO@$L"
    "MVYMB?s6t)v%?5DhMU@wz=rg`0X^I9M-!c=pF_S2WyiobpHy@^cnnd8HJRNJR@?V2;6=XA6VL4E;oM@9CWx8%yU8$JrvOK&hwZIS7LcT|J`CDv"
    ";ziVJ9e%!5H!|-`Y(ML8)g9hU*#+P4W>9-@dQBh2-h%j>J=6s?3MmJ1QG$n>(4q-VM+Us8*gxW)QF?F{?@Q41anP&-{a$$0s=CagPIQLeDCr!|"
    "qqKgS<#a!AI(RGbt^%F~T||aH1pWycKoPQD!rF%W1a}*W8$pH{P@~*6IG+n?g}Et(h0L|->f&z8Kv@Rdr{!s7SMjv5yHd`K997LlY-1|JY0Jvh"
    "0V^z_y4(XV*S(GPOCo@g@iMs~9b=(SOUSy~tb88py>hOqKU+1Jjf2tM#s)ZqOiC;CzgAD~2JUqPBNsydm5g#kXNQcedTV)tx<pK!C!s?R`q$)S"
    "s8=@2E<KC>xf?xB^{mzHxQwt?%%~S-HT%FbSchpqRksoj!-g^=oxqAVGeQ`lDcpB(UIea1)-qu$tf|sbF=`{w{nBPXs!`d5K}*+?)uwFKjd;a-"
    "fzf~R7zDJS#73->wcN=~dduFPMONkUWc6JJe#L8Ya0on)Z2eWy&3EBEFEdP0tAiSwR-1KUM6a8L%O_X~`5g>sYOcMDl16<3n1msKs!T%TJxIAX"
    "O#CUKKQ<z&B3(GYq7w{81gNb00(D)h=f#b*OItHYeRFh)td|<}@^e6(OUimpz^%=$wU!>-MP1E?IY&0o0$vOFU0HP96Vh6Jj>41M02Q<$-=eJZ"
    "c4)Wxq(`ed@PWNeApPc@$1p5x$P0+_R%B9zYlbx(Bi92uxFvt43Z~<t#x4}m0Kx1|*bG*|T}`-Ug^W?zeK^+ucd$q*x)RWsZehBH9I;b0wy1k}"
    "PSZf3q_x%6zzt>RKxY(h<9W>eh`hpo9f{)YUwxFuEZV$}3TtqQkB<KL$ly8UTfw1&1{=A)6DT2}t%+O^c+loq3(lBC{aB<*?3N2|=!lHtBgWc!"
    "$a7vU3p785L9v2bi+4X|NYbLQ7L&+czHi9h$IyNYlzf1K8VHwlv?F*w3eOKwK#|d~p=jqe6Sm2;+Mju5&Wm4(mxej^^J<5&8!+dJtK1TX6f*}c"
    "(cD)-QXc{CA$>nD$Mpn!^qr(>eWsyLLxGD0<cTHN2VFdV70Tr;n8epAdfDcAmky8hki!X|I@Wtax}b<eijbWb1K4CE=9-`p^pHl1HHWZ-^mHA0"
    "pT?~OBa8auf=ub8JcV{x(RcIcYn$c69gJw-2cIe@cE?jA{g8btkk=ae9As7?u1FVHvVY&h=5)wlwB)8;?cirp4DS_~PZQw&o>iQE+ZFs9u!o<&"
    "RgXa4zU;$Lvv1_`zz4^o&-#L&$2|ihpHz1DgHf;a)%_o6YHhNSVeNktGpCBxB*!7SUeHr^lb3mfMBqXlsGLZ5qVbBHpx@I$U@hcJ1^+q-ZUpEB"
    "H>~GhO+_|o^vzWHFzc<NSA{{D)d!hL7m9oxbBunmB~B&TzYgKD!5rL%fBWjc^+OyE@Jnc3<lmCE|0DFaY3r8}3vNMg;v21}A58+|?e$>w#dc)y"
    "tx!H5*7KqKRMKyz!Q`_C<n$%gD@WzZnHl|E<ek4t`VVZ5o1F"
)
"""What the tokens of `whitespace_tokenizer_v1` are made of (Unicode 17.0)."""

PUNCTUATION = (
    "c-noGO^B9N6vxm1zV~_O{hIfk(VRgW$1xp8V{*odG#$d)C_^X~WTp|3R1#&>1Qlf_2%(gM2Bjzwln{szx@aNTDu_01GAN=&(dWWNw8)@-=RA+O"
    "Yw_ot=iYP9{hzO=X@%z5fLhk4MOFt{brZ5BSpr#!Z&@v54Ge=N;PV=n9qX#VSz$D&7my85gtPPvIPA)05q=e?iBPM<S`pGQ$@w5pwyURRiTpTv"
    "6STnmh}PB5&L{IRZN1>I3Vh>4-RgB$>ea(9f|t<uArHtJdIhBqWT&pm_hm2(dht-w2eM%p)pbL~ute4-<T|2w7P5ZrMQ*`iC+9z8Yia`ePWks7"
    "xp)Z^7BxJRPI*!uX1TR>p)6$5JF=TJin3o(!MffnQyC=j4urEd(4V_F+sM;ioL`EnLT%9hA3WtYHD3hQ@N&U@0gG`0luf)=Blj&LhwJ%yMcUkF"
    "e2TD@*2njWLPG@JM&McdqeEp5Nk2N%ZWZ%cY>&vM_*l(#)(Ez;9Sp`-UV{Z>x-iP?6H)N`PNa{~L*TgLnU=<EMKpWBmOy1RMyO|FP@X_uO1gBL"
    "ZPd}Tvb9=^&zn9)k5$w0JbW7Tt;xj`WwkRGnIy6v;9zA`Us{7cg?y9-4xoF5hq>F0?%#X3>mpx6UOep{Z^)MFw`B9^K++v_VG^GK7!TPpV$P4^"
    "zAeV_`U<rfEAMAtbmo9ly`2fUlfI^4(jNtwvRm}NE7Rb#D?b&nT1g+O+OeYv#}z1>!2}WS0Xul|%UWf6%BShZsBM#kiXeE=AAh=P{XQ^_zBP77"
    "kSfRELC8LZ{!t3Ur04K%RqOL4_{*1J50)b^zPH??tgBHMPvoR)yQs<ikyW9Gsmo<Qe1wmiiFDALK8yE3+2VNkN`tGvhd91E=LT+lH_Ux&&Sc`8"
    "@ge%mlltV{Yrlx^N9~HYx<=j3*I4o4NT5M)?z1_~*q@3?Nj4KB=HdI8qHM>@UsgXP%Phxy*|zIf|H&<^iu`|a#`b3>F6-7<{%*8&j$}UWaC^>!"
    "|KnZz&i^}K)T>|QtKd^#@wbvqLSr}U(1Srw3XC&$%c^N{jPr!o$8DQXPmEz*CuHAxWjbI4tRv$V*{?*760H+e>&DOL>%?J~L!Yfp(ZU*2Th3aC"
    "svPsC?}~l-7yGbnT>"
)
"""1: what a paragraph of `not_alphanum_paragraph_v1` is made of, whitespace too (Unicode 17.0)."""

WORD_BREAK = (
    "c-nneONgaM6+Tt}`JeaR`tQB{e*fKb)0v*0neLf!UI9agm<~f05oL@L@U0s`gNhp$HYzGgcA}yXHxk5EaG?x=5Ft)Bkz}EQJ2zP=n1w4B!S6d&"
    "w;zMf;_%n4I#uWOoyTp&d7n8q7B_O@1}d%(YOwA(X$n`nCYNQ!Ughv@#AWBibxysw)^&wA1#gXCn#%&#8=${uTF92Z5OVzRU{%GFYRq-U3!quh"
    "M?pX0k21W>&vxWBzMXXEQowJJPvk-+E4hm1<myRL6yh5%J)X6h?CM;A;^GRL;njuD*^6bsjuZj<fK%~pii~DxYh3HP61;pu@s0+VzNs~Nqcix$"
    ">AWgVYfuKt!&sKEQt83?MMx=VZ;?wKF6biUZH61hIS!QHK(eP(WyoEr@G2$D(*dSq2J0z_+&BaAc7+|Kj*_JpJOjZSkppt|%uD{5>@~@G-*_|p"
    "E|ZT-z7!CT(6d)+li<$0k|%vCoM%Q;k3~&t{3_DfgZ7-he_~H5*#p*4m!WadlFW2ae0@TSw>9@O>BG_-R%9`TVyFs?*AV+vvVcGw9!qwKyEOd7"
    "nEPW3hT>8*PVP2mG(Ua6nEEwoPUQ4)Huc>O(RJz$(}Er@kF9MCB|II&9-^k!h_F&Ki*%6?UqKoo1gRgiNSBbrI5fp`_Pa*hO8dQy`wOOBQ}pa^"
    "Bu1TfP2jaz%b%S1mPtU|!sl(TDX705N4JD`H4LP0FEj<cyloohrsXcyfASV0pI{r;JL$XmKh9cwZ>RN>N*Htq&`>^xHADVS9*oqDmLcUCZ1jN6"
    "F|w_e8APXtwTJbC<YgZYq%#}n(M{^!Qr80cTQYKCOP%@t5ShY~)Q5%r(182MNw0VWVa~&CX<+0UVPuz^VqP}F6#!{ZM{rz*oe|vJhk$h*Sjo7k"
    "0lz0Yi!y`)0(F{V0_9l(c4--`qATYDk}M$9xMjscUUzyBe&WqyZ>5gkDtT#28`!&ksvu;xj)j3~K8S#_y%IG$8(FZ2zOBUfP!@Wg^*GC0SM^b;"
    "0iO!6YEZ#DoK~O_&ZKGi{=iaipx0zGjIdS<ag$`{{N0_^Ph)yaSg7;Jp(Df|g}6gm=>7$P9R+_1bO>6KUI%n_uObMz_o%*(_)(P(@#`KFg@6Lo"
    "2YnU$-+;<J3N=D@cUk&2xYwFVu1kv9%l!5v?=E4@H$$R-Q<b;j!fpnOYw6Z+oV?4bfeM4r^v_`X7SO}$=E8#37J`RS7xuvY4%8db3lk=8mzOz<"
    "Liaq&U75-AC45%qmNuV+r#ju2VfoXkeK%we3?DCl{Wm8s*7~Geh8i!j+6|R;epdF_a}20}M))vjUhc;N79&#W9GIOIa$=6ihCX3NJ^=H4xQg~e"
    ";1@Cu%(YljiTG8Nb&pIK0MTp27;qm@Or6Fu5^wEbueKsqr4q)3yJ{sSv$CG2#=OofV37x3W9W`_;>yS1_^(+ri7yrMtLLEP0$_ASzk3LtJ}`w~"
    "<dB{_8Gv#Sev41k<e$||`G?oB9N_sIdfvLikiD($+t*i%l2y|&2H$#FIE#Eg&MgRX?_pC;Pi~byY``NYHqfe7$yz0f!Q)VvVvB2W7IaI#sZSwu"
    "e?Uik+nGPF7?d^;^MS0xs%>~D$I4qluB^#ike4jw;0kV%&ZFZqbUl0gq?exkof*&XJ-j=QB3J36HI@t3P@Xc48R?6OnL-x8M__O06G{8V?k?*g"
    "pwHHJkeVT5szj63nl-D~#8hW?t?4<_eid<ELIC0`Gq7^3UzR(1Q?6l6f;m<vSzA|GQ34z6f1;Y6kz%>T1r2L9(^Pn>2bZz-UywOnF@>{mU0duT"
    "RB?X8o`y@{gpq|BR2@3ylFc*)_$L4@Lu&=iW~g&4#p3L>eVi&ht!64-wNyF>sSa=S17`}R$m6G)SoD1Z347qkO^*KGsmEs3Q&Z1$Qpv45#V(tp"
    "uQjRn$LW{rI>foo#rc6QvtBm9OKSkwII!@VWk~sT*+(mirGSop*+IS1hJyw6jIafU5mN)G=Af{PY<I~`v&C&`5!a@;PoT8n3&^OZm@}JPYEFE6"
    "(PljAtw|ep<EA(?&PPpP8B&V~D=Z-4Jf|QFKPPsG50}+)6nT3`-*lK0TGN8#&m&e7K(@DNIWmu(5bhj1bsI`#$A1M(T*6k7I6BSKX`XESod+yA"
    "MR;T9{II3b_X9)IUFh?y{JhjJ%2!aG-*EcYtb7Jqyi)0~Wdm=4tzT@w<!`FqyAI7zO^f>jxu=l8(SjO0o4(YWVcmxiKverSBG2LWjJ}e|B^xQ="
    ">;uIZ@(c?O^t#E39J(D$OFAC#;r(x+Z@^BF2f6Z>z)^{^TLv8bY)-y}R|j~orllN_37Gb+4idhna+#GqycDP9B2;Z<F<OVDAG2=1n#o;AdwTjW"
    "A)%N!?<dUD@lT|otxCUFQ!eCbMBv_^d2z{7C;tC?*q4C0S{$j|1n{mJI?!;?(-^uoyi<Xb5&esWSVj?9DX6(Tj?(YK3+Bl(lvX*J<A3n*y~7N1"
    "5#er%zh=<X7LG9q>}c;sZS}ZpJNYBCq6|Cop$JwcP;DG5iEEmhO}ZH|UZhd!WGu=a;D3;&XPW$|r{3e+qcqm#wtmCQk?#hWTsANxEJNNh?{<FD"
    "S3hZNEQ96USZ;UAW7uNz)U55+m@5=>&~LLY53l*Ik{|kRUyfY&b<9|IWf#+#cDJO$ouWIB@49>hdwaOofbM18dlAg<m)&=c_R%lb<<kLpeb0se"
    "0$nM$iv"
)
"""Word_Break and Extended_Pictographic (Unicode 16.0)."""

PRETOKENS = (
    "c-n<mOK4qH6y2Y5zwej4yu74ol9#qg+9ds?O<QdhjIFH{r3#{@4g}FEXhFfDBTKOZ?LY(v4l1a0Ch9;-XHhDGpMf9_#SeZ!anyk$aqWH2drhm>"
    "!O6S#+;jGK?X`CbN<y1Bs4}HkL#iY?!S>Er6U_dU;miaUYl1f+#(qj7_{L%<#CB9z$C#;y^_g;@IyWid%#LHdz<6O2778YpQ<tOuk*S0A0M<*)"
    "IbF1!c{WX{E<nc$RhCFx1#N_afG-^~3q%`!LUoBpsR>h<9&;@%Xw0xmXfk=t%6^*WDLTnD+o4i7aY1&+%t@#V*^C_sz{;ov$s0Iv4K@6Z<7CRi"
    "w8#f(zn^LQxe^*0I)vLfp3KuOPG;_*!dg2ygw?2Y;asV9DwQgx8Kj2m?#W>FENYb&c;HdfCKWD+uREU%EHd8%)ilR*?H@K>J3GD39@CLZ&100}"
    "t4TM@CFV)|+4dC)?qY8gw^Z7YU)f?97;?E2RK;A}j?!?XnN-nWU4OnD*wTysR<;PD-1l+8Wm)_Zf6t_{xDc~6p*HSYW(v1d;A0P8kx8x7vdgSv"
    "FGq&v2HqGV$K!M9X9~ZY_+H_$4m{%)w;X{r?3I#Iz!&pimd72F2_L2e+62;<xMP-T>KIkOZ74K*8?eH)p@QaJOX3=raOg|%U`vEd^}G;&H~q`E"
    "7Jd)J=fe<GXh#&mAEJj0Ru(Y*-EpJCj2cG0DBXjiQ^{dZ8%P{6+fYw!)Iq}|-J-ql*ebz!0N>44^SOrlx95|%n?U&HX#Y_zQT20F*J+Pkjkd$n"
    "2~;?8D09d#Dp2?FQY8s1v-;N)v<vyop<!4jaU!598(yp1fvljjJcg(n)=E6XO2}DaLw}Auu#S37q!E>7$r|%2y(ZE5`S_d1ko8v&d;8W^rlZL#"
    "RJ;NkeS~4J7Etdh_{*V#cr>u;NaT>Sp4G0!kGZUVarYEt2G403<tG)_4VGD5a~@3aE%@FF=robPu&GlJ^nuXra-6#IYXF^1%Wmu$oL^Py>K!;V"
    "gN-wReli}d>NCMEi|Be(-CEJFwvdCu{r&H?iFUz{8DP1tZ)$7{=40twC@eq#Ex-~0V}TB!EVV%C!&v4FKunKVAf==kUIr3p0Gw&cQKBue=dJi%"
    "6IxqAp3c9+D4Lx}?0Mu5ylHIM0Vb?wODxM1umyHZ;e3I&C$Uzc=vw`bLkUNgGA?N#BP9?VAYl&}sIKG2V`@<lue(WbfS^-Z-A*AsyA1h`^wR4$"
    "aV{wRcL4}A*?Gm)i11jf=RGmE;)s`++i_z&wH|>=L#3w?f$6&FTacOv+;gx4Ve@);`veY;LCJ1Ddx-upp-=HVj@KbP8PHQBQWmdk4X2T~-*7>P"
    "5E(%~+6G?kKx&t^z^kUSR`A|s6=v7Z89@K9>BCq(2?wvaV1>5@!u<@0qtf5Pev>!T^HwxautVx}K!!0MTxFVqfZd>@jS>KeAcggLa1Tp@>MT+3"
    "rfSwZCZHvYbioS;A+b$c+YqL`)~FFycE;;Buj}6r(<Ni?E~Mr>?yRur-QY+?gm~UQU<&cBgB~PfMyb++l0ufFQ>aSmvQ;)CFxK~1QAxlCU_S&j"
    "?iA~-A>wWd8Vkulz8Riz1gKJg-B@Q5c}^q)zuKITY1i0DMj$hnHn11an=-kdj`1zD0_?6}FO^xOz0`|BJuxTL8;tOAQzbSZbrFvs2~ym)7Nhet"
    "%9(WFR2{_Df}%hjsT!#Gz_9~2jGh99h7CSM6o_ui;Nd57+G4Kb&6;Hs&IJdJ<$`^XGJJF}7_`}jAwXLXt?NZqCQ2U+jnqrM*}!4Li6Q#}!`wEm"
    "4@bx;W|3u}S6pRoQDDex(-`<=7N3T_G1VL)4IM!-HR3p0>V6D`HjIeX9yDIIjJF{7aa4xQ33WG#V@DA0{jFHJ0JmDdKk8?;`kY}lOd2l$gqgE?"
    "u7%H1JMrCTMa-SY_?-CAF$e2xtAv;lZwJ%-?7;JR*j9}cX>3`Hl4!<}?n43gjD0S#4{oC<1=iOyeuAC>2oi+z3iB5odX#O}eK+T?dh}`F%ZKT5"
    "fP|h?n+dot4j0pAGHhA4X05@8?wSu(HiC@;f+PH1g2;?X&{LQSjAjmjVpe1HC+W{!NWnJ+FT%ZFj(C>)-n=Ee1KAqJW==0FpKa6AkkCMS3!j9o"
    "YSy*`F{f#RoMU<rm+t01Af^9*fYS*_!FR?{CXerv5n4&)THE{DE^crPR{v_;?AKDcN6(?2^=gjY?-hkmLXK3EA%7%@Q`^UtQh%;EIt+-7=@T>6"
    "h~cgXfGWnXq;wmCh=zhPycd*b?d{|0>c)7TBk7b;WCgP{4hPqU0lne;jjR8yAN{aSp2;4L!%E`MS1`TEk5&aQ=JXu~${D&m1KYnf5odM)Z|@)E"
    "H^%8g;2&!A`8@v(5af$U"
)
"""What `olmo_pretokenizer_v1` tells apart (tokenizers 0.19)."""
